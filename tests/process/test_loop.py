"""The whole loop without a map, through the commands only: index, query, watch, alert, stop, start."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageOps

from tests import pictures
from tests.process.daemon import Daemon, living
from tests.test_matching_look import stepped_aside

pytestmark = pytest.mark.process

IMAGES = 12
STRANGER = 900
"""Seed of a picture that is in no album."""


def started(daemon: Daemon) -> Daemon:
    """Have a daemon index an album, scikit-learn's two photographs among it, and return it."""
    pictures.write_album(daemon.album, IMAGES - 2)
    for number, picture in enumerate(pictures.real_photographs()):
        pictures.save(picture, daemon.album / f"real-{number}.jpg", quality=90)
    daemon.start()
    daemon.settle()
    return daemon


@pytest.fixture
def indexed(daemon: Daemon) -> Daemon:
    """Give a running daemon with an index of a test's own."""
    return started(daemon)


@pytest.fixture(scope="module")
def asked() -> Iterator[Daemon]:
    """Give a running daemon that tests only ask: nothing changes its album."""
    with living() as daemon:
        yield started(daemon)


def real(daemon: Daemon) -> Path:
    """Return a real photograph of the album."""
    return daemon.album / "real-0.jpg"


def test_status_counts_what_is_in_the_album(asked: Daemon) -> None:
    """After `settle` the daemon is ready, has every image, and says why it has no map."""
    status = asked.settle()
    assert (status["state"], status["images"], status["errors"], status["pending"]) == ("ready", IMAGES, 0, 0)
    (album,) = status["albums"]
    expected = {"path": str(asked.album), "state": "watching", "images": IMAGES, "errors": 0, "out_of_reach": 0}
    assert album.items() >= expected.items()
    assert status["model"] is None
    assert "too few" in status["model_reason"]


def test_an_unchanged_image_is_exact_and_first(asked: Daemon) -> None:
    """The file itself comes back first, as `exact`, with score 1."""
    first = asked.matches(real(asked))[0]
    assert (first["path"], first["kind"], first["score"]) == (str(real(asked)), "exact", 1.0)


def test_a_small_bad_jpeg_is_a_copy_and_first(asked: Daemon) -> None:
    """A JPEG of quality 30 at half size is a `copy`, ahead of everything else, and the only one."""
    query = pictures.resaved(real(asked), asked.home / "query.jpg", scale=0.5, quality=30)
    first, *others = asked.matches(query, "--by", "grey")
    assert (first["path"], first["kind"]) == (str(real(asked)), "copy")
    assert 0.5 < first["score"] <= 1
    assert {match["kind"] for match in others} == {"similar"}


def test_a_stranger_is_only_similar(asked: Daemon) -> None:
    """A photograph that is in no album has neither `exact` nor `copy`; without a map there is no distance."""
    query = pictures.save(pictures.photograph(STRANGER), asked.home / "query.png")
    matches = asked.matches(query)
    assert {match["kind"] for match in matches} == {"similar"}
    assert {match["map_distance"] for match in matches} == {None}
    assert [match["score"] for match in matches] == sorted((match["score"] for match in matches), reverse=True)


def test_query_options(asked: Daemon) -> None:
    """`-n`, `--kind`, `--min-score`, `--paths0` and standard input do what their help says."""
    assert len(asked.matches(real(asked), "-n", "3", "--by", "grey")) == 3
    assert [match["kind"] for match in asked.matches(real(asked), "--kind", "exact")] == ["exact"]
    assert all(match["score"] >= 0.9 for match in asked.matches(real(asked), "--min-score", "0.9"))
    paths = asked.run("query", real(asked), "-n", "2", "--by", "grey", "--paths0").stdout.split(b"\0")
    assert paths[0] == os.fsencode(real(asked))
    assert (len(paths), paths[-1]) == (3, b"")
    piped = asked.run("query", "-", "--json", stdin=real(asked).read_bytes())
    assert json.loads(piped.stdout)["matches"][0]["kind"] == "exact"


def test_a_query_explains_each_match(asked: Daemon) -> None:
    """`--explain` tells the view, the scales, the correlation and the threshold, of copies and of what is none."""
    with Image.open(real(asked)) as image:
        width, height = image.size
        query = asked.home / "query.png"
        ImageOps.mirror(image.crop((0, 0, round(0.8 * width), round(0.9 * height)))).save(query)
    copy, *others = (match["explanation"] for match in asked.matches(query, "--by", "grey", "--explain"))
    assert copy["outcome"] == "copy"
    assert copy["guess"]["flip"]
    assert (copy["scale_x"], copy["scale_y"]) == pytest.approx((0.8, 0.9), abs=0.02)
    assert 0.9 < copy["correlation"] <= 1
    assert copy["score"] >= copy["threshold"] == others[0]["threshold"]
    assert {match["outcome"] for match in others} <= {"below", "given-up"}
    assert all("explanation" not in match for match in asked.matches(query))
    lines = asked.run("query", query, "-n", "1", "--explain").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["copy", "a", "view:", "scales:", "correlation:"]


def test_nothing_found_is_status_1(asked: Daemon) -> None:
    """A query without a match prints no data and exits 1."""
    query = pictures.save(pictures.photograph(STRANGER), asked.home / "query.png")
    done = asked.run("query", query, "--kind", "exact")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"nothing found\n")


def test_sheet_is_a_picture_of_query_and_matches(asked: Daemon) -> None:
    """`--sheet` writes a PNG that a person can look at, besides the usual output."""
    sheet = asked.home / "sheet.png"
    done = asked.run("query", real(asked), "-n", "4", "--by", "grey", "--sheet", sheet)
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.splitlines()) == 4
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
    # More matches than a sheet has room for are no reason to refuse.
    assert asked.run("query", real(asked), "-n", "100", "--sheet", sheet).returncode == 0


def test_new_files_are_noticed_however_they_come(indexed: Daemon) -> None:
    """A file copied in, a folder copied in, a file moved in and a folder moved in are all indexed and found."""
    outside = indexed.home / "outside"
    outside.mkdir()
    first, second, third, fourth = (
        pictures.save(pictures.photograph(seed), outside / f"new-{seed}.jpg", quality=90) for seed in range(100, 104)
    )
    (outside / "copied").mkdir()
    (outside / "moved").mkdir()
    second = second.rename(outside / "copied" / second.name)
    third = third.rename(outside / "moved" / third.name)
    shutil.copy(first, indexed.album)
    shutil.copytree(outside / "copied", indexed.album / "copied")
    shutil.move(outside / "moved", indexed.album / "moved")
    shutil.move(fourth, indexed.album / "four.jpg")
    assert indexed.settle()["images"] == IMAGES + 4
    for path in (first.name, f"copied/{second.name}", f"moved/{third.name}", "four.jpg"):
        assert indexed.matches(indexed.album / path)[0]["path"] == str(indexed.album / path)


def test_events_alone_bring_a_new_file_in(indexed: Daemon) -> None:
    """A new duplicate is indexed and alerted by the kernel's event alone: nobody asks for a walk."""
    with indexed.popen("alerts", "--follow", "--json") as follower:
        shutil.copy(real(indexed), indexed.album / "again.jpg")
        assert follower.stdout is not None
        alert = json.loads(follower.stdout.readline())
        follower.terminate()
    assert (alert["path"], alert["kind"]) == (str(indexed.album / "again.jpg"), "exact")
    assert alert["matches"][0] == {"path": str(real(indexed)), "kind": "exact", "score": 1.0, "done": ""}


def test_moved_files_are_not_read_again(indexed: Daemon) -> None:
    """Renaming a file and a folder keeps the contents: nothing is decoded, nothing alerted, all is found."""
    (indexed.album / "folder").mkdir()
    real(indexed).rename(indexed.album / "folder" / "inside.jpg")
    indexed.settle()
    (indexed.album / "folder").rename(indexed.album / "renamed")
    status = indexed.settle()
    assert (status["images"], status["decoded"]) == (IMAGES, IMAGES)
    assert indexed.matches(indexed.album / "renamed" / "inside.jpg")[0]["kind"] == "exact"
    assert indexed.alerts() == []


def test_a_deleted_file_is_returned_no_more(indexed: Daemon) -> None:
    """After a file is deleted, no query returns it."""
    query = shutil.copy(real(indexed), indexed.home / "query.jpg")
    real(indexed).unlink()
    assert indexed.settle()["images"] == IMAGES - 1
    assert all(match["path"] != str(real(indexed)) for match in indexed.matches(Path(query)))


def test_each_duplicate_is_alerted_once_also_over_a_restart(indexed: Daemon) -> None:
    """A copy raises one alert with its matches; stopping and starting raises no other, nor did the first index."""
    assert indexed.alerts() == []
    pictures.resaved(real(indexed), indexed.album / "small.jpg", scale=0.5, quality=60)
    indexed.settle()
    (alert,) = indexed.alerts()
    assert (alert["path"], alert["kind"]) == (str(indexed.album / "small.jpg"), "copy")
    assert [match["path"] for match in alert["matches"]] == [str(real(indexed))]
    indexed.settled_until_log_says(f"alert id={alert['id']} kind=copy")
    indexed.stop()
    indexed.start()
    indexed.settle()
    assert indexed.alerts() == [alert]


def test_duplicates_lists_groups_with_the_one_to_keep(indexed: Daemon) -> None:
    """Exact and near copies come as groups, each with one image to keep and a reason; a dismissed pair does not."""
    small = pictures.resaved(real(indexed), indexed.album / "small.jpg", scale=0.5, quality=60)
    twin = Path(shutil.copy(indexed.album / "photo-0001.jpg", indexed.album / "twin.jpg"))
    indexed.settle()
    groups = {group["kind"]: group["images"] for group in indexed.json("duplicates")["groups"]}
    assert {image["path"] for image in groups["exact"]} == {str(twin), str(indexed.album / "photo-0001.jpg")}
    assert [(image["path"], image["keep"]) for image in groups["copy"]] == [
        (str(real(indexed)), True),
        (str(small), False),
    ]
    assert all(image["why"] for images in groups.values() for image in images)
    assert indexed.run("dismiss", small, real(indexed)).returncode == 0
    assert [group["kind"] for group in indexed.json("duplicates")["groups"]] == ["exact"]
    assert indexed.run("undismiss", real(indexed), small).returncode == 0
    assert len(indexed.json("duplicates")["groups"]) == 2


def test_copies_inside_the_first_index_are_grouped_and_raise_no_alert(daemon: Daemon) -> None:
    """Copies that arrive in one batch find each other; what was there at the start is listed, not told."""
    pictures.write_album(daemon.album, 3)
    pictures.resaved(daemon.album / "photo-0001.jpg", daemon.album / "small.jpg", scale=0.5, quality=60)
    for path in daemon.album.iterdir():
        # Old files are not waited for: all are committed at once, the moment that the search for copies begins.
        os.utime(path, (1e9, 1e9))
    daemon.start()
    daemon.settle()
    (group,) = daemon.json("duplicates")["groups"]
    assert {Path(image["path"]).name for image in group["images"]} == {"photo-0001.jpg", "small.jpg"}
    assert daemon.alerts() == []


def test_a_long_answer_comes_in_pages(daemon: Daemon) -> None:
    """An answer that is longer than a message of the protocol may be arrives whole."""
    names = [f"{number:04d}-{'x' * 200}.jpg" for number in range(4_000)]
    for name in names:
        (daemon.album / name).touch()
    daemon.start()
    daemon.settle()
    done = daemon.run("errors", "--json")
    assert len(done.stdout) > 1024 * 1024
    assert [Path(error["path"]).name for error in json.loads(done.stdout)["errors"]] == names


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_start_decodes_only_what_changed(indexed: Daemon, how: str) -> None:
    """After a stop, or kill -9, nothing is decoded again but what changed while the daemon was down."""
    indexed.stop() if how == "stop" else indexed.kill()
    pictures.save(pictures.photograph(STRANGER), indexed.album / "new.jpg", quality=90)
    (indexed.album / "photo-0003.jpg").unlink()
    indexed.start()
    status = indexed.settle()
    assert (status["images"], status["decoded"]) == (IMAGES, 1)
    assert indexed.matches(indexed.album / "new.jpg")[0]["kind"] == "exact"
    assert indexed.run("doctor", command="cbir-daemon").stdout == b"sound\n"


def test_an_unreadable_file_is_recorded_and_looked_at_again(indexed: Daemon) -> None:
    """A broken file is in `cbir errors` with its reason; once it is whole it is indexed."""
    broken = indexed.album / "broken.jpg"
    broken.write_bytes(b"this is text")
    assert indexed.settle()["errors"] == 1
    (error,) = indexed.json("errors")["errors"]
    assert (error["path"], error["code"]) == (str(broken), "not-an-image")
    pictures.save(pictures.photograph(STRANGER), broken, quality=90)
    status = indexed.settle()
    assert (status["errors"], status["images"]) == (0, IMAGES + 1)


def test_a_lost_disk_forgets_nothing(indexed: Daemon) -> None:
    """An album that turns empty is missing, keeps its images, and comes back by itself; a loss can be accepted."""
    away = indexed.home / "away"
    indexed.album.rename(away)
    indexed.album.mkdir()
    status = indexed.settle()
    assert (status["albums"][0]["state"], status["images"]) == ("missing", IMAGES)
    assert indexed.matches(away / "real-0.jpg")[0]["missing"] is True
    indexed.album.rmdir()
    away.rename(indexed.album)
    status = indexed.settle()
    assert (status["albums"][0]["state"], status["images"], status["decoded"]) == ("watching", IMAGES, IMAGES)
    for path in indexed.album.iterdir():
        path.unlink()
    assert indexed.settle()["images"] == IMAGES
    assert indexed.run("scan", "--accept-losses").returncode == 0
    status = indexed.settle()
    assert (status["albums"][0]["state"], status["images"]) == ("watching", 0)


def test_a_configuration_is_read_again_on_sighup(indexed: Daemon) -> None:
    """SIGHUP takes up new settings; a broken file is refused and changes nothing."""
    text = indexed.config.read_text()
    indexed.config.write_text(text.replace("settle_s", "setle_s"))
    indexed.signal(signal.SIGHUP)
    assert indexed.settled_until_log_says("configuration refused")["images"] == IMAGES
    indexed.config.write_text(text.replace("[watch]\n", "[watch]\nexclude = ['real*']\n"))
    indexed.signal(signal.SIGHUP)
    indexed.settled_until_log_says("configuration read again")
    assert indexed.settle()["images"] == IMAGES - 2


def test_albums_are_added_removed_and_remembered(indexed: Daemon) -> None:
    """A second album is indexed, survives a start without arguments, and is forgotten when removed."""
    second = indexed.home / "other"
    pictures.write_album(second, 2, first_seed=50)
    assert indexed.json("album", "add", second)["added"] is True
    assert indexed.settle()["images"] == IMAGES + 2
    indexed.stop()
    indexed.start("--state", str(indexed.state))
    assert [album["path"] for album in indexed.json("album", "list")["albums"]] == [str(indexed.album), str(second)]
    assert indexed.run("album", "remove", second).returncode == 0
    assert indexed.settle()["images"] == IMAGES


def test_backup_while_running_and_restore(indexed: Daemon) -> None:
    """A backup made while the daemon runs is restored whole, and nothing is decoded after it."""
    backup = indexed.home / "backup.sqlite"
    assert indexed.run("backup", backup, command="cbir-daemon").returncode == 0
    refused = indexed.run("restore", backup, command="cbir-daemon")
    assert refused.returncode == 73
    indexed.stop()
    (indexed.state / "index.sqlite").write_bytes(b"not an index")
    assert indexed.run("restore", backup, command="cbir-daemon").returncode == 0
    indexed.start()
    status = indexed.settle()
    assert (status["images"], status["decoded"]) == (IMAGES, 0)


def test_a_burst_is_no_duplicate(indexed: Daemon) -> None:
    """A shot a step aside is in no group and raises no alert; a smaller copy beside it is and does."""
    photograph = pictures.real_photographs()[0]
    pictures.save(stepped_aside(photograph, 5.0), indexed.album / "shot.jpg", quality=92)
    pictures.save(pictures.resized(photograph, 0.8), indexed.album / "small.jpg", quality=80)
    indexed.settle()
    (group,) = indexed.json("duplicates")["groups"]
    assert sorted(Path(image["path"]).name for image in group["images"]) == ["real-0.jpg", "small.jpg"]
    assert group["look"] == "files"
    assert [Path(alert["path"]).name for alert in indexed.alerts()] == ["small.jpg"]
    (burst,) = indexed.json("duplicates", "--kind", "shot")["groups"]
    assert (burst["kind"], burst["saves"]) == ("shot", 0)
    assert all(image["keep"] for image in burst["images"])
    assert sorted(Path(image["path"]).name for image in burst["images"]) == ["real-0.jpg", "shot.jpg", "small.jpg"]


def test_a_picture_is_found_inside_a_page(asked: Daemon, tmp_path: Path) -> None:
    """The answer says in which part; the whole page is a copy of nothing."""
    photograph = pictures.resized(pictures.real_photographs()[0], 0.9)
    query = pictures.save(pictures.on_a_page(photograph), tmp_path / "page.jpg", quality=90)
    (match,) = asked.json("query", query, "--kind", "copy", "--explain")["matches"]
    assert (Path(match["path"]).name, match["look"]) == ("real-0.jpg", "files")
    # The explanation is of the part, not of the page.
    assert match["explanation"]["outcome"] == "copy"
    assert match["explanation"]["score"] == pytest.approx(match["score"], abs=0.001)
    part = [match["part"][side] for side in ("left", "top", "right", "bottom")]
    assert part == pytest.approx([1 / 4, 1 / 3, 3 / 4, 2 / 3], abs=0.03)
    assert match["overlap"]["query"] == pytest.approx(1 / 6, abs=0.02)


def test_a_picture_is_found_that_was_turned_by_any_angle(asked: Daemon, tmp_path: Path) -> None:
    """The answer has the angle; the explanation is of what was cut out and turned back."""
    photograph = Image.fromarray(pictures.real_photographs()[0])
    query = tmp_path / "turned.jpg"
    photograph.rotate(33, Image.Resampling.BICUBIC, expand=True, fillcolor=(255, 255, 255)).save(query, quality=90)
    (match,) = asked.json("query", query, "--kind", "copy", "--explain")["matches"]
    assert (Path(match["path"]).name, match["look"], match["part"]) == ("real-0.jpg", "files", None)
    assert match["transform"] == {"flip": False, "turn": 0, "angle": pytest.approx(33, abs=1), "invert": False}
    assert match["overlap"] == {"query": pytest.approx(0.53, abs=0.03), "match": pytest.approx(1, abs=0.02)}
    assert (match["explanation"]["outcome"], match["explanation"]["score"]) == ("copy", match["score"])
    line = asked.run("query", query, "--kind", "copy").stdout.decode().strip()
    assert line.endswith(f"of {match['path']}, tilted 33 degrees left"), line


def test_a_match_that_has_a_border_around_the_query_is_said(indexed: Daemon, tmp_path: Path) -> None:
    """It is no photograph of which the query is a crop; one that the query is a crop of has no frame there."""
    photograph = pictures.real_photographs()[0]
    framed = pictures.save(pictures.bordered(photograph), indexed.album / "framed.jpg", quality=92)
    indexed.settle()
    asked = pictures.save(photograph, tmp_path / "asked.jpg", quality=80)
    around = {match["path"]: match["match_around"] for match in indexed.json("query", asked)["matches"]}
    assert (around[str(framed)], around[str(indexed.album / "real-0.jpg")]) == ("plain", "nothing")
    assert f"of {framed}, which has a border or caption around it" in indexed.run("query", asked).stdout.decode()
    crop = pictures.save(pictures.cropped(photograph), tmp_path / "crop.jpg", quality=90)
    assert {match["match_around"] for match in indexed.json("query", crop, "-n", "1")["matches"]} == {"nothing"}
    framed.unlink()
    indexed.settle()


def test_a_query_says_when_another_shot_was_taken(indexed: Daemon, tmp_path: Path) -> None:
    """By EXIF, of both files."""
    photograph = pictures.real_photographs()[1]
    for path, picture, second in (
        (indexed.album / "timed.jpg", photograph, 1),
        (tmp_path / "asked.jpg", stepped_aside(photograph, 5.0), 8),
    ):
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = f"2019:07:14 12:45:{second:02}"
        Image.fromarray(picture).save(path, quality=92, exif=exif)
    indexed.settle()
    shots = indexed.json("query", tmp_path / "asked.jpg", "--kind", "shot")["matches"]
    later = {Path(match["path"]).name: match["later_s"] for match in shots}
    assert later == {"timed.jpg": 7.0, "real-1.jpg": None}
    words = indexed.run("query", tmp_path / "asked.jpg", "--kind", "shot").stdout.decode()
    assert "timed.jpg, 7 s later by EXIF" in words
    (indexed.album / "timed.jpg").unlink()
    indexed.settle()


def test_a_query_tells_copies_from_shots(indexed: Daemon, tmp_path: Path) -> None:
    """By the files; and by what is known of the pairs of an image that is indexed."""
    photograph = pictures.real_photographs()[0]
    burst = pictures.save(stepped_aside(photograph, 5.0), tmp_path / "shot.jpg", quality=92)
    copy = pictures.save(pictures.brighter(photograph), tmp_path / "copy.jpg", quality=80)
    best = [indexed.json("query", image, "-n", "1")["matches"][0] for image in (burst, copy)]
    assert [(match["kind"], match["look"]) for match in best] == [("shot", "files"), ("copy", "files")]
    assert indexed.run("query", burst, "--kind", "copy").returncode == 1
    (shot,) = indexed.json("query", burst, "--kind", "shot")["matches"]
    assert Path(shot["path"]).name == "real-0.jpg"
    shutil.copy(burst, indexed.album / "shot.jpg")
    indexed.settle()
    kinds = {Path(match["path"]).name: match["kind"] for match in indexed.json("query", burst, "-n", "3")["matches"]}
    assert (kinds["shot.jpg"], kinds["real-0.jpg"]) == ("exact", "shot")
