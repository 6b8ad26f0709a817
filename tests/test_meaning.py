"""Meaning: weights that are read without being run, a graph that is right, a process that describes pictures."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import struct
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.meanings import MeaningFiller
from cbir_daemon.errors import ChildError, ModelError
from cbir_daemon.meaning import NUMBERS, Meaning, units
from cbir_daemon.meaning.descriptors import (
    COSINES,
    MEAN_COSINES,
    MEAN_SHARES,
    SHARES,
    cosines,
    descriptor_of,
    signs,
    tables,
)
from cbir_daemon.meaning.kept import NETWORK_FILE, RECORD_FILE, kept_network, make_network
from cbir_daemon.meaning.reranking import products_among
from cbir_daemon.meaning.weights import WEIGHTS_SHA256, read_tensors, weights_path
from cbir_daemon.pictures import PICTURES
from cbir_daemon.search.meaning_table import MeaningTable
from tests import efficientnet, pictures
from tests.test_looks import LIMITS, Album

onnx = pytest.importorskip("onnx")
running = pytest.importorskip("cbir_daemon.meaning.running")
worker = pytest.importorskip("cbir_daemon.meaning.worker")
network = pytest.importorskip("cbir_daemon.meaning.network")
if weights_path() is None:
    pytest.skip("the weights of EfficientNet-Lite0 are not installed", allow_module_level=True)

SIDE_PX = running.SIDE_PX
CHINA, FLOWER = pictures.real_photographs()

Tensors = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    """Give the weights of EfficientNet-Lite0."""
    path = weights_path()
    assert path is not None
    with path.open("rb") as file:
        return read_tensors(file)


# -- weights -----------------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    """Return the pickle of a text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def row(*items: bytes) -> bytes:
    """Return the pickle of a tuple."""
    return b"(" + b"".join(items) + b"t"


def count(value: int) -> bytes:
    """Return the pickle of a number."""
    return b"J" + struct.pack("<i", value)


NOTHING = b"ccollections\nOrderedDict\n)R"


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, length: int = 6) -> bytes:
    """Return the pickle of a tensor on the row "0", as torch writes it."""
    storage = row(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), count(length)) + b"Q"
    parts = (storage, count(offset), row(*map(count, shape)), row(*map(count, strides)), b"\x89", NOTHING)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + row(*parts) + b"R"


def tensors_named(**named: bytes) -> bytes:
    """Return the pickle of a dictionary."""
    items = b"".join(text(name) + value for name, value in named.items())
    return b"\x80\x02" + NOTHING + b"(" + items + b"u."


def streamed(pickled: bytes, numbers: bytes = struct.pack("<6f", *range(6))) -> bytes:
    """Return a file of torch's older format."""
    head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    machine = b"\x80\x02}(" + text("little_endian") + b"\x88u."
    keys = b"\x80\x02]" + text("0") + b"a."
    return head + machine + pickled + keys + struct.pack("<q", len(numbers) // 4) + numbers


def archived(pickled: bytes, numbers: bytes = struct.pack("<6f", *range(6))) -> bytes:
    """Return a file of torch's present format."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", b"little")
        archive.writestr("net/data/0", numbers)
    return data.getvalue()


FORMATS = pytest.mark.parametrize("packed", [streamed, archived])
Packed = Callable[..., bytes]


@FORMATS
def test_tensors_are_read_with_their_strides(packed: Packed) -> None:
    """A transposed tensor, one that begins later, and a number alone."""
    pickled = tensors_named(turned=tensor((3, 2), (1, 3)), later=tensor((2,), (1,), 4), alone=tensor((), (), 5))
    read = read_tensors(io.BytesIO(packed(pickled)))
    assert read["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (read["later"].tolist(), read["alone"].shape, float(read["alone"])) == ([4, 5], (), 5)
    assert read["turned"].flags.owndata


@FORMATS
@pytest.mark.parametrize(
    "harm",
    [
        b"cos\nsystem\n" + row(text("touch {}")) + b"R",
        b"cbuiltins\neval\n" + row(text("open({!r}, 'w')")) + b"R",
        b"ctorch\nload\n" + row(text("{}")) + b"R",
        b"ccollections\ncounter\n)R",
    ],
    ids=["a command", "code", "another of torch", "another of collections"],
)
def test_what_asks_for_anything_but_arrays_is_refused_unrun(packed: Packed, harm: bytes, tmp_path: Path) -> None:
    """A pickle may call whatever it names: here it is refused at the name, and nothing has run."""
    trace = tmp_path / "trace"
    # The length stands before the text: a name as long as the one that it takes the place of.
    path = str(trace)
    for pattern in ("touch {}", "open({!r}, 'w')", "{}"):
        harm = harm.replace(text(pattern), text(pattern.format(path)))
    with pytest.raises(ModelError, match="they would load"):
        read_tensors(io.BytesIO(packed(tensors_named(a=harm))))
    assert not trace.exists()


@FORMATS
@pytest.mark.parametrize(
    "wrong",
    [
        tensor((7,), (1,)),
        tensor((2, 2), (1, 5)),
        tensor((2,), (-1,), 3),
        tensor((2,), (1,), -1),
        tensor((0,), (1,)),
        tensor((2, 2), (1,)),
        tensor((2,), (2**30,)),
        tensor((2,), (1,), length=7),
        tensor((2,), (1,), length=-1),
        text("no tensor"),
    ],
)
def test_a_tensor_outside_its_numbers_is_refused(packed: Packed, wrong: bytes) -> None:
    """No array is made of memory that is not the file's."""
    with pytest.raises(ModelError, match="these weights are refused"):
        read_tensors(io.BytesIO(packed(tensors_named(a=wrong))))


@FORMATS
def test_numbers_that_nothing_names_are_refused(packed: Packed) -> None:
    """A row that is longer than the tensors say."""
    with pytest.raises(ModelError, match="these weights are refused"):
        read_tensors(io.BytesIO(packed(tensors_named(a=tensor((2,), (1,))), bytes(28))))


@FORMATS
def test_a_file_that_is_cut_off_is_refused(packed: Packed) -> None:
    """Wherever it ends."""
    whole = packed(tensors_named(a=tensor((2,), (1,))))
    for length in range(len(whole)):
        with pytest.raises(ModelError, match="these weights are refused"):
            read_tensors(io.BytesIO(whole[:length]))


# -- graph -------------------------------------------------------------------------------------------------------------


def test_the_graph_does_what_the_definition_says(tensors: Tensors) -> None:
    """Each of 1280 features, of a picture with odd sides, as by arithmetic that shares no line with the graph."""
    picture = running.check_picture()
    expected = efficientnet.features(tensors, picture)
    found = running.Network(network.network_of(tensors), keeps_shape=True).features(picture)
    assert np.abs(found - expected).max() < 1e-4 < expected.max() / 1e4
    assert {place: round(float(expected[place]), 4) for place in worker.EXPECTED} == worker.EXPECTED


def test_a_network_of_other_weights_is_no_efficientnet(tensors: Tensors) -> None:
    """A tensor that is missing, or of another shape."""
    missing = {name: tensor for name, tensor in tensors.items() if name != "_bn1.weight"}
    with pytest.raises(ModelError, match="not the weights of EfficientNet-Lite0"):
        network.network_of(missing)
    with pytest.raises(ModelError, match="not the weights of EfficientNet-Lite0"):
        network.network_of({**tensors, "_bn1.weight": tensors["_bn1.weight"][:7]})


def test_a_picture_is_enlarged_between_its_pixels() -> None:
    """A ramp stays a ramp; the corners keep their colours; a picture of the right size is passed on."""
    ramp = np.repeat(np.arange(4, dtype=np.float32)[None, :, None], 3, axis=2).repeat(2, axis=0)
    wide = running.scaled(ramp, 2, 8)
    assert wide[0, :, 0].tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert running.scaled(ramp, 2, 4) is ramp
    assert running.scaled(ramp[:1, :1], 5, 3).shape == (5, 3, 3)


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_a_descriptor_has_128_bytes_and_no_length() -> None:
    """Features twice as far from the mean have the same descriptor; the mean itself has zeros."""
    table = tables()
    features = table.mean + np.random.default_rng(1).random(len(table.mean), np.float32)
    found = descriptor_of(features, table)
    assert found.tobytes() == bytes(found)
    assert len(found) == NUMBERS
    assert np.array_equal(descriptor_of(2 * features - table.mean, table), found)
    assert not descriptor_of(table.mean, table).any()
    assert np.allclose(np.linalg.norm(units(found[None])), 1)
    assert not units(np.zeros((1, NUMBERS), np.int8)).any()


def test_a_network_without_tables_is_projected_by_chance() -> None:
    """Fewer numbers are kept, more keep their cosines nearly; chance is the same everywhere."""
    few = np.array([3, 4], np.float32)
    assert descriptor_of(few, None)[:3].tolist() == [95, 127, 0]
    random = np.random.default_rng(2)
    left, right = random.standard_normal((2, 768)).astype(np.float32)
    near = left + 0.5 * right
    rows = units(np.stack([descriptor_of(numbers, None) for numbers in (left, near, right)]))
    assert rows[0] @ rows[1] == pytest.approx(2 / 5**0.5, abs=0.1)
    assert rows[0] @ rows[2] == pytest.approx(left @ right / 768, abs=0.25)
    assert hashlib.sha256(signs(768).astype(np.int8).tobytes()).hexdigest()[:16] == "304d56fe19fe1452"


def test_cosines_are_those_of_all_rows() -> None:
    """Also of more than are compared at once; a row of zeros is like nothing."""
    random = np.random.default_rng(5)
    stored = random.integers(-127, 128, (2_500, NUMBERS), np.int8)
    stored[3] = 0
    found = cosines(stored[1], stored)
    assert np.allclose(found, units(stored) @ units(stored[1:2])[0], atol=1e-6)
    assert int(found.argmax()) == 1
    assert float(found[3]) == 0


def test_a_score_is_how_often_a_match_is_right(tmp_path: Path) -> None:
    """Of EfficientNet-Lite0 it was measured; of another network it is the cosine, and never below 0."""
    stored = np.zeros((4, NUMBERS), np.int8)
    stored[0, 0], stored[1, 0], stored[2, :2], stored[3, 1] = 127, -127, 90, 127
    ours, own = opened("efficientnet-lite0", tmp_path), opened("own.onnx", tmp_path)
    assert ours.alike(stored[0], stored)[[0, 1, 3]].tolist() == [1, 0, 0]
    assert ours.alike(stored[0], stored)[2] == pytest.approx(np.interp(0.5**0.5, COSINES, SHARES))
    assert own.alike(stored[0], stored).tolist() == pytest.approx([1, 0, 0.5**0.5, 0])
    assert ours.alike_among(stored[0], stored)[[0, 1]].tolist() == pytest.approx([1, 0], abs=0.01)
    for table in (COSINES, SHARES, MEAN_COSINES, MEAN_SHARES):
        assert list(table) == sorted(table)


def test_what_resembles_good_matches_comes_first() -> None:
    """Of two rows as like the query, that one which its best match resembles; the query itself describes no row."""
    query = np.array([1, 0, 0, 0], np.float32)
    rows = np.array([[0.8, 0.6, 0, 0], [0.4, 0.9165, 0, 0], [0.4, 0, 0.9165, 0], [0, 0, 0, 0]], np.float32)
    assert rows[1] @ query == rows[2] @ query
    products = products_among(query, rows, lambda found: np.clip(found, 0, 1))
    assert products[1] > products[2] + 0.1
    assert products[3] == 0
    (alone,) = products_among(query, rows[2:3], lambda found: np.clip(found, 0, 1))
    described = query + 0.4 * rows[2]
    assert alone == pytest.approx(float(rows[2] @ described / np.linalg.norm(described)), abs=1e-4)
    assert len(products_among(query, rows[:0], lambda found: np.clip(found, 0, 1))) == 0


# -- the process -------------------------------------------------------------------------------------------------------


def small(picture: NDArray[np.uint8], side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    """Return a picture as a decode worker makes it smaller."""
    image = Image.fromarray(picture)
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return np.asarray(image)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the network in it."""
    folder = tmp_path_factory.mktemp("state") / "models"
    make_network(folder)
    return folder


@pytest.fixture
def meaning(models_dir: Path) -> Iterator[Meaning]:
    """Give EfficientNet-Lite0, as the daemon has it."""
    meaning = opened("efficientnet-lite0", models_dir)
    yield meaning
    meaning.close()


def opened(model: str, models_dir: Path) -> Meaning:
    """Return a network that is asked for."""
    meaning = Meaning(model, models_dir)
    meaning.open()
    return meaning


def cosine(meaning: Meaning, *pair: NDArray[np.uint8]) -> float:
    """Return how alike two pictures are."""
    described = [meaning.describe(small(picture)) for picture in pair]
    rows = units(np.stack([numbers for numbers in described if numbers is not None]))
    return float(rows[0] @ rows[1])


def test_pictures_of_one_thing_are_alike(meaning: Meaning) -> None:
    """A photograph and its mirror image, a part of it or a smaller one; two photographs are not."""
    assert meaning.problems() == []
    assert meaning.side_px() == SIDE_PX
    assert cosine(meaning, CHINA, CHINA[:, ::-1]) > 0.9
    assert cosine(meaning, CHINA, CHINA[40:, 60:]) > 0.8
    assert cosine(meaning, CHINA, small(CHINA, 96)) > 0.6
    assert cosine(meaning, CHINA, FLOWER) < 0.4


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 224, 3), (224, 1, 3), (224, 224, 3)])
def test_a_picture_of_any_shape_is_described(meaning: Meaning, shape: tuple[int, int, int]) -> None:
    """A single pixel, a line, a square."""
    picture = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    first, second = meaning.describe(picture), meaning.describe(picture)
    assert first is not None
    assert second is not None
    assert np.array_equal(first, second)


def test_the_process_can_open_nothing(meaning: Meaning) -> None:
    """It has no new privileges, and the kernel looks at each of its calls."""
    meaning.side_px()
    status = Path(f"/proc/{meaning.process_id}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    if "Seccomp:" in status:
        assert "Seccomp:\t2" in status
    assert 50 < meaning.peak_memory_bytes() / 2**20 < 300


def test_a_process_without_work_leaves_and_comes_back(meaning: Meaning) -> None:
    """After a minute; the next picture starts another."""
    before = meaning.describe(small(CHINA))
    running_before = meaning.process_id
    meaning.close_if_idle(0.0)
    assert meaning.process_id == running_before is not None
    meaning.close_if_idle(float("inf"))
    assert meaning.cpu_s == 0
    after = meaning.describe(small(CHINA))
    assert before is not None
    assert after is not None
    assert np.array_equal(before, after)


def test_a_process_that_is_killed_costs_nothing(meaning: Meaning) -> None:
    """The picture is shown to another."""
    meaning.side_px()
    assert meaning.process_id is not None
    os.kill(meaning.process_id, signal.SIGKILL)
    assert meaning.describe(small(CHINA)) is not None


def test_a_daemon_that_stops_does_not_wait_for_a_start(models_dir: Path) -> None:
    """A process that has not yet opened the network is ended with the others; nobody gets another one."""
    meaning = opened("efficientnet-lite0", models_dir)
    refused: list[str] = []

    def ask() -> None:
        try:
            meaning.describe(small(CHINA))
        except ChildError as error:
            refused.append(error.message)

    asking = threading.Thread(target=ask)
    asking.start()
    while meaning.process_id is None:
        pass
    meaning.close()
    asking.join()
    assert meaning.cpu_s == 0
    assert len(refused) == 1
    with pytest.raises(ChildError, match="the daemon is stopping"):
        meaning.describe(small(CHINA))


# -- the file beside the state -----------------------------------------------------------------------------------------


def test_the_file_is_made_once(models_dir: Path) -> None:
    """A later start reads it; its record has the digest of its bytes."""
    path = models_dir / NETWORK_FILE
    made = path.stat()
    meaning = opened("efficientnet-lite0", models_dir)
    meaning.side_px()
    meaning.close()
    assert path.stat().st_ino == made.st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    recorded = json.loads((models_dir / RECORD_FILE).read_text())
    assert recorded["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def put(models_dir: Path, data: bytes) -> None:
    """Write another network in the place of ours, with a record that says that it is right."""
    (models_dir / NETWORK_FILE).write_bytes(data)
    recorded = json.loads((models_dir / RECORD_FILE).read_text())
    (models_dir / RECORD_FILE).write_text(json.dumps({**recorded, "sha256": hashlib.sha256(data).hexdigest()}))


def test_a_file_that_differs_is_made_again(models_dir: Path, tensors: Tensors) -> None:
    """One with a changed bit; and one of other weights, whose record agrees, by what it says of a picture."""
    path = models_dir / NETWORK_FILE
    sound = path.read_bytes()
    changed = bytearray(sound)
    changed[len(changed) // 2] ^= 1
    foreign = network.network_of({**tensors, "_bn0.bias": tensors["_bn0.bias"] + 0.1})
    for harm in (lambda: path.write_bytes(changed), lambda: put(models_dir, foreign), path.unlink):
        harm()
        meaning = opened("efficientnet-lite0", models_dir)
        assert meaning.side_px() == SIDE_PX
        assert (meaning.enabled, meaning.problems()) == (True, [])
        meaning.close()
        assert path.read_bytes() == sound


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"source": "graph 0", "sha256": "00"}'])
def test_a_record_that_is_none_means_no_file(models_dir: Path, record: str) -> None:
    """The file is made again then."""
    whole = (models_dir / RECORD_FILE).read_text()
    (models_dir / RECORD_FILE).write_text(record)
    assert kept_network(models_dir) is None
    (models_dir / RECORD_FILE).write_text(whole)
    assert kept_network(models_dir) is not None


# -- a network of the user's -------------------------------------------------------------------------------------------


def own_network(
    path: Path,
    *kinds: str,
    shape: tuple[int | str, ...] = (1, 3, 8, 12),
    kind: int = onnx.TensorProto.FLOAT,
    **properties: str,
) -> Path:
    """Write a network of a few operations in a row and return its path."""
    names = ["picture", *(f"value_{number}" for number in range(len(kinds)))]
    nodes = [onnx.helper.make_node(name, [names[at]], [names[at + 1]]) for at, name in enumerate(kinds)]
    values = [
        onnx.helper.make_tensor_value_info(name, kind, size) for name, size in ((names[0], shape), (names[-1], None))
    ]
    graph = onnx.helper.make_graph(nodes, "own", values[:1], values[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, properties)
    path.write_bytes(model.SerializeToString())
    return path


def described_by(path: Path, picture: NDArray[np.uint8]) -> tuple[int, NDArray[np.int8] | None, list[str]]:
    """Return the side that a network asks for, what it says of a picture, and what is wrong with it."""
    meaning = opened(str(path), path.parent)
    side_px = meaning.side_px()
    found = side_px, meaning.describe(picture), [problem.what for problem in meaning.problems()]
    meaning.close()
    return found


RED = np.array([[[255, 0, 0]]], np.uint8)


def test_an_own_network_describes_pictures(tmp_path: Path) -> None:
    """A feature map is averaged; colours have ImageNet's mean and deviation, or those that the file says."""
    side_px, usual, _ = described_by(own_network(tmp_path / "a.onnx", "Identity"), RED)
    assert side_px == 12
    expected = (np.array([1, 0, 0]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert usual is not None
    assert np.array_equal(usual[:3], np.rint(127 * expected / np.abs(expected).max()))
    path = own_network(tmp_path / "b.onnx", "Identity", mean="0.5,0.5,0.5", deviation="0.5,0.5,0.5")
    _, said, _ = described_by(path, RED)
    assert said is not None
    assert said[:3].tolist() == [127, -127, -127]


def test_an_own_network_of_any_size_has_squares_of_224(tmp_path: Path) -> None:
    """In half precision as well; its vector of more than 128 numbers is projected by chance."""
    path = own_network(tmp_path / "a.onnx", "Flatten", shape=("n", 3, "h", "w"), kind=onnx.TensorProto.FLOAT16)
    side_px, said, problems = described_by(path, RED)
    assert (side_px, problems) == (SIDE_PX, [])
    assert said is not None
    assert said.any()


def test_versions_name_the_network(tmp_path: Path) -> None:
    """By its file and its digest: another network means that contents are described anew."""
    first, second = (own_network(tmp_path / name, kind) for name, kind in (("a.onnx", "Identity"), ("b.onnx", "Relu")))
    kinds = [opened(str(path), tmp_path).kind for path in (first, second)]
    assert [kind.name for kind in kinds] == ["meaning", "meaning"]
    digest = hashlib.sha256(first.read_bytes()).hexdigest()[:16]
    assert kinds[0].version == f"a.onnx/1 {digest}"
    assert kinds[1].version.startswith("b.onnx/1 ")
    assert opened("efficientnet-lite0", tmp_path).kind.version == f"efficientnet-lite0/1 {WEIGHTS_SHA256[:16]}"


@pytest.mark.parametrize(
    ("kinds", "settings", "words"),
    [
        (["Identity"], {"shape": (1, 8, 8, 3)}, "pictures of 8 channels"),
        (["Identity"], {"shape": (1, 3)}, "must have one input"),
        (["Identity"], {"kind": onnx.TensorProto.UINT8}, "must have one input"),
        (["Identity"], {"shape": (1, 3, 8, 5000)}, "5000 pixels"),
        (["Identity"], {"mean": "a,b,c"}, "the property mean"),
        (["Identity"], {"deviation": "1,0,1"}, "the property deviation"),
        (["Sqrt"], {}, "not finite"),
        (["Shape"], {}, "no network that can be run"),
        (["NoSuchOperation"], {}, "no network that can be run"),
    ],
)
def test_a_network_that_is_of_no_use_is_a_problem(
    tmp_path: Path, kinds: list[str], settings: dict[str, Any], words: str
) -> None:
    """Its sentence names what is wrong; nothing is described, and nothing else fails."""
    path = own_network(tmp_path / "a.onnx", *kinds, **settings)
    side_px, said, (problem,) = described_by(path, RED)
    assert (side_px, said) == (0, None)
    assert problem.startswith("pictures are not described by meaning: a.onnx: ")
    assert words in problem


def test_what_is_no_network_is_a_problem(tmp_path: Path) -> None:
    """A text, a file that is not there, and one that was replaced while the daemon ran."""
    (tmp_path / "a.onnx").write_text("text")
    assert "no network that can be run" in described_by(tmp_path / "a.onnx", RED)[2][0]
    meaning = opened(str(tmp_path / "absent.onnx"), tmp_path)
    assert not meaning.enabled
    assert meaning.problems()[0].what.endswith("absent.onnx: No such file or directory")
    meaning = opened(str(own_network(tmp_path / "b.onnx", "Identity")), tmp_path)
    own_network(tmp_path / "b.onnx", "Relu")
    assert meaning.describe(RED) is None
    assert "has changed since" in meaning.problems()[0].what
    meaning.close()


def test_a_network_that_computes_for_ever_is_a_problem(tmp_path: Path) -> None:
    """It is waited for as long as a start may take, and then never again."""
    helper, kinds = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["before"], ["after"])],
        "body",
        [value("round", kinds.INT64, []), value("go", kinds.BOOL, []), value("before", kinds.FLOAT, None)],
        [value("goes", kinds.BOOL, []), value("after", kinds.FLOAT, None)],
    )
    constants = [onnx.numpy_helper.from_array(np.array(number), name) for number, name in ((2**60, "n"), (True, "yes"))]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "yes", "picture"], ["said"], body=body)],
        "endless",
        [value("picture", kinds.FLOAT, [1, 3, 8, 8])],
        [value("said", kinds.FLOAT, None)],
        constants,
    )
    path = tmp_path / "endless.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    meaning = Meaning(str(path), tmp_path, start_timeout_s=3.0)
    meaning.open()
    assert meaning.describe(RED) is None
    assert meaning.problems()[0].what.endswith("no answer in 3 s")
    assert not meaning.enabled
    meaning.close()


def test_numbers_outside_the_file_are_not_loaded(tmp_path: Path) -> None:
    """The process opens no other file."""
    path = own_network(tmp_path / "a.onnx", "Identity")
    model = onnx.load(path)
    weights = onnx.numpy_helper.from_array(np.ones((1, 3, 8, 12), np.float32), "weights")
    model.graph.initializer.append(weights)
    model.graph.node[0].CopyFrom(onnx.helper.make_node("Add", ["picture", "weights"], ["value_0"]))
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=8)
    assert (tmp_path / "weights").stat().st_size == 4 * 3 * 8 * 12
    _, said, (problem,) = described_by(path, RED)
    assert said is None
    assert "no network that can be run" in problem


def test_a_missing_extra_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it; without a network that is asked for, nothing is missing."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (problem,) = opened("efficientnet-lite0", tmp_path).problems()
    assert problem.do == "pip install 'cbir-daemon[meaning]', then restart"
    meaning = opened("", tmp_path)
    assert (meaning.enabled, meaning.problems(), meaning.describe(RED)) == (False, [], None)


# -- contents ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Give a worker that reads files."""
    with closing(DecodePool(1, LIMITS, PICTURES)) as pool:
        yield pool


@pytest.fixture
def album(tmp_path: Path, pool: DecodePool) -> Iterator[Album]:
    """Give an album of the two photographs."""
    with closing(Album(tmp_path, pool, None)) as album:
        for number, picture in enumerate((CHINA, FLOWER)):
            album.add(f"{number}.jpg", picture)
        yield album


def filler_of(album: Album, meaning: Meaning) -> MeaningFiller:
    """Return what describes the contents of an album, with the descriptors that the store has."""
    filler = MeaningFiller(album.store, album.pool, meaning, lambda: True)
    filler.open()
    return filler


def test_contents_are_described_once(album: Album, meaning: Meaning) -> None:
    """All are pending, then none; whoever comes later has them from the store, as the picture itself has them."""
    filler = filler_of(album, meaning)
    assert (filler.pending, filler.idle, len(filler.table)) == (2, False, 0)
    assert filler.step()
    assert not filler.step()
    assert (filler.pending, filler.idle, len(filler.table)) == (0, True, 2)
    described = filler_of(album, meaning).table.rows()
    assert described.content_ids.tolist() == [1, 2]
    expected = meaning.describe(small(CHINA))
    assert expected is not None
    assert units(described.numbers)[0] @ units(expected[None])[0] > 0.95


def test_contents_are_described_anew_by_another_network(album: Album, meaning: Meaning, tmp_path: Path) -> None:
    """The descriptors of the network before are not compared with those of this one, and give way to them."""
    filler_of(album, meaning).step()
    own = opened(str(own_network(tmp_path / "a.onnx", "Identity")), tmp_path)
    filler = filler_of(album, own)
    assert (filler.pending, len(filler.table)) == (2, 0)
    filler.step()
    assert (filler.pending, len(filler.table)) == (0, 2)
    own.close()
    assert filler_of(album, meaning).pending == 2


def test_a_file_that_is_gone_is_not_waited_for(album: Album, meaning: Meaning) -> None:
    """It is passed over until a restart; the other content is described."""
    (album.root / "0.jpg").unlink()
    filler = filler_of(album, meaning)
    assert filler.step()
    assert (filler.pending, filler.idle, len(filler.table)) == (0, True, 1)
    assert filler_of(album, meaning).pending == 1


def test_a_network_that_is_refused_holds_nothing_up(album: Album, tmp_path: Path) -> None:
    """It is found out with the first content; then nothing is pending, and the problem says why."""
    own = opened(str(own_network(tmp_path / "a.onnx", "Sqrt")), tmp_path)
    filler = filler_of(album, own)
    assert (filler.enabled, filler.pending) == (True, 2)
    filler.step()
    assert (filler.enabled, filler.pending, filler.idle, filler.step()) == (False, 0, True, False)
    assert own.problems()


def test_a_table_grows_and_keeps_what_was_asked() -> None:
    """Rows that somebody holds stay as they are; bytes that are no descriptor are left out."""
    table = MeaningTable(2)
    table.add([(1, b"\x01\x02"), (2, b"short by none"), (3, b"\xff\x04")])
    before = table.rows()
    table.add([(number, b"\x05\x06") for number in range(4, 3000)])
    assert (before.content_ids.tolist(), before.numbers.tolist()) == ([1, 3], [[1, 2], [-1, 4]])
    after = table.rows()
    assert (len(table), after.content_ids[-1], after.numbers[-1].tolist()) == (2998, 2999, [5, 6])
    assert after.numbers[:2].tolist() == before.numbers.tolist()
