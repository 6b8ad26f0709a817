"""The tables, and how an index written by an older release becomes one of today's.

In: an open index.  Out: the same index with today's tables, or an error.  Never here: rows of today, copies of the
file.

Each migration is one script that runs inside one transaction together with the number it leads to, so an index is
never between two versions.  Paths are BLOB: a file name on Linux is bytes.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from cbir_daemon.errors import SchemaTooNewError, StorageError
from cbir_daemon.store.rows import scalar

APPLICATION_ID = 0x63626972
"""`cbir` in ASCII: tells an index from any other SQLite file (PRAGMA application_id)."""

_FIRST = """
-- The clock: raised by each commit that can change an answer, never lowered.
CREATE TABLE clock (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO clock VALUES (1, 0);

CREATE TABLE album (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    path     BLOB NOT NULL UNIQUE,
    state    TEXT NOT NULL DEFAULT 'watching' CHECK (state IN ('watching', 'polling', 'missing')),
    -- 1 once the first scan of the album is indexed: only what comes after that raises alerts.
    baseline INTEGER NOT NULL DEFAULT 0 CHECK (baseline IN (0, 1))
) STRICT;

CREATE TABLE content (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    digest     BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    extractor  TEXT NOT NULL,
    vector     BLOB NOT NULL CHECK (length(vector) = 4096),
    size_bytes INTEGER NOT NULL,
    width_px   INTEGER NOT NULL,
    height_px  INTEGER NOT NULL,
    format     TEXT NOT NULL,
    -- 1 once its copies among the other contents have been looked up.
    matched    INTEGER NOT NULL DEFAULT 0 CHECK (matched IN (0, 1))
) STRICT;
CREATE INDEX content_size ON content (size_bytes);
CREATE INDEX content_unmatched ON content (id) WHERE matched = 0;

CREATE TABLE file (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    album_id      INTEGER NOT NULL REFERENCES album ON DELETE CASCADE,
    path          BLOB NOT NULL,
    size_bytes    INTEGER NOT NULL,
    mtime_ns      INTEGER NOT NULL,
    inode         INTEGER NOT NULL,
    content_id    INTEGER REFERENCES content,
    error_code    TEXT,
    error_message TEXT,
    -- 1 until it has been decided whether this file raises an alert.
    alert_due     INTEGER NOT NULL DEFAULT 0 CHECK (alert_due IN (0, 1)),
    UNIQUE (album_id, path),
    CHECK ((content_id IS NULL) = (error_code IS NOT NULL)),
    CHECK ((error_code IS NULL) = (error_message IS NULL))
) STRICT;
CREATE INDEX file_content ON file (content_id);
CREATE INDEX file_inode ON file (inode);
CREATE INDEX file_alert_due ON file (id) WHERE alert_due = 1;

-- Contents that were verified to be copies of each other; the smaller id first.
CREATE TABLE pair (
    content_id     INTEGER NOT NULL REFERENCES content ON DELETE CASCADE,
    other_id       INTEGER NOT NULL REFERENCES content ON DELETE CASCADE,
    score          REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (content_id, other_id),
    CHECK (content_id < other_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX pair_other ON pair (other_id);

-- "These are not duplicates", by content and for ever; the smaller digest first.
CREATE TABLE decision (
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    other_digest BLOB NOT NULL CHECK (length(other_digest) = 32),
    decided_at   REAL NOT NULL,
    PRIMARY KEY (digest, other_digest),
    CHECK (digest < other_digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    time      REAL NOT NULL,
    path      BLOB NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('exact', 'copy')),
    matches   TEXT NOT NULL,
    -- 0 until every sink has had it.
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1))
) STRICT;
CREATE INDEX alert_undelivered ON alert (id) WHERE delivered = 0;

CREATE TABLE model_run (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    reason          TEXT NOT NULL,
    started_at      REAL NOT NULL,
    finished_at     REAL,
    outcome         TEXT NOT NULL CHECK
                    (outcome IN ('running', 'active', 'replaced', 'failed', 'cancelled', 'set-aside')),
    message         TEXT NOT NULL DEFAULT '',
    code_version    TEXT NOT NULL,
    n_neighbors     INTEGER,
    n_components    INTEGER,
    trustworthiness REAL,
    neighbor_recall REAL,
    fitted_images   INTEGER,
    -- Contents in the collection when the fit began; more than fitted_images when a sample was fitted.
    present_images  INTEGER,
    seed            INTEGER,
    duration_s      REAL,
    peak_mib        REAL,
    curve           TEXT NOT NULL DEFAULT '[]',
    artifact        TEXT,
    sha256          BLOB
) STRICT;
CREATE UNIQUE INDEX model_run_active ON model_run (outcome) WHERE outcome IN ('active', 'running');

CREATE TABLE position (
    run_id      INTEGER NOT NULL REFERENCES model_run ON DELETE CASCADE,
    content_id  INTEGER NOT NULL REFERENCES content ON DELETE CASCADE,
    -- fitted: the map was fitted on it; present: there at the fit but not in its sample; added: came later.
    origin      TEXT NOT NULL CHECK (origin IN ('fitted', 'present', 'added')),
    -- float32, little-endian, n_components of them.
    coordinates BLOB NOT NULL,
    PRIMARY KEY (run_id, content_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX position_content ON position (content_id);
"""

_DISKS = """
-- Which disk an album's root and each file's folder were on (st_dev); 0 is not known.
ALTER TABLE album ADD COLUMN device INTEGER NOT NULL DEFAULT 0;
ALTER TABLE file ADD COLUMN device INTEGER NOT NULL DEFAULT 0;

-- Alerts of albums that go missing and come back.  A CHECK cannot be altered: a new table, whose numbers go on.
CREATE TABLE new_alert (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    time      REAL NOT NULL,
    path      BLOB NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('exact', 'copy', 'missing', 'back')),
    matches   TEXT NOT NULL,
    message   TEXT NOT NULL DEFAULT '',
    -- 0 until every sink has had it.
    delivered INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1))
) STRICT;
INSERT INTO new_alert (id, time, path, kind, matches, delivered)
    SELECT id, time, path, kind, matches, delivered FROM alert ORDER BY id;
DROP TABLE alert;
ALTER TABLE new_alert RENAME TO alert;
CREATE INDEX alert_undelivered ON alert (id) WHERE delivered = 0;
"""

_DECISIONS = """
-- How much of each of a pair's contents the other shows, and what was done to the first to get the other; NULL until it
-- has been looked up again.
ALTER TABLE pair ADD COLUMN overlap REAL CHECK (overlap BETWEEN 0 AND 1);
ALTER TABLE pair ADD COLUMN other_overlap REAL CHECK (other_overlap BETWEEN 0 AND 1);
ALTER TABLE pair ADD COLUMN flip INTEGER;
ALTER TABLE pair ADD COLUMN turn INTEGER;
ALTER TABLE pair ADD COLUMN angle REAL;
ALTER TABLE pair ADD COLUMN invert INTEGER;
UPDATE content SET matched = 0 WHERE id IN (SELECT content_id FROM pair UNION SELECT other_id FROM pair);

-- When a camera took it, as EXIF has it; empty when that says nothing, NULL when an older release read the content.
ALTER TABLE content ADD COLUMN taken TEXT;
-- Share of its area inside plain bars and borders; NULL as long as it has no copies.
ALTER TABLE content ADD COLUMN picture REAL CHECK (picture BETWEEN 0 AND 1);

-- The same digest twice: all files with these bytes are wanted.  A CHECK cannot be altered.
CREATE TABLE new_decision (
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    other_digest BLOB NOT NULL CHECK (length(other_digest) = 32),
    decided_at   REAL NOT NULL,
    PRIMARY KEY (digest, other_digest),
    CHECK (digest <= other_digest)
) STRICT, WITHOUT ROWID;
INSERT INTO new_decision SELECT digest, other_digest, decided_at FROM decision;
DROP TABLE decision;
ALTER TABLE new_decision RENAME TO decision;

-- The journal of what `cbir resolve` did to files: a row is begun before its file is touched, and done after.
CREATE TABLE resolve_run (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at REAL NOT NULL
) STRICT;

CREATE TABLE resolve_task (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      INTEGER NOT NULL REFERENCES resolve_run ON DELETE CASCADE,
    action      TEXT NOT NULL CHECK (action IN ('trash', 'move', 'hardlink', 'reflink')),
    kind        TEXT NOT NULL CHECK (kind IN ('', 'exact', 'copy')),
    path        BLOB NOT NULL,
    keep        BLOB NOT NULL,
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    keep_digest BLOB NOT NULL CHECK (length(keep_digest) IN (0, 32)),
    size_bytes  INTEGER NOT NULL,
    mtime_ns    INTEGER NOT NULL,
    folder      BLOB,
    state       TEXT NOT NULL CHECK (state IN ('planned', 'begun', 'done', 'skipped', 'undone')),
    -- Where the file is from the moment it is begun.
    target      BLOB,
    reason      TEXT NOT NULL DEFAULT '',
    changed_at  REAL NOT NULL
) STRICT;
CREATE INDEX resolve_task_run ON resolve_task (run_id);
CREATE INDEX resolve_task_digest ON resolve_task (digest);

-- When the content of the file was last resolved away; NULL when it never was.
ALTER TABLE alert ADD COLUMN returned REAL;
"""

_CHECKSUMS = """
-- CRC-32 of the vector: SQLite does not notice when a page of vectors is lost.
ALTER TABLE content ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE content SET checksum = crc32(vector);
"""

_SINKS = """
-- The clock when the file got the content that it has: of two that are equal, the later one is the copy.
ALTER TABLE file ADD COLUMN since INTEGER NOT NULL DEFAULT 0;

-- How far each place is to which alerts go; each has had every alert up to `delivered_id`.
CREATE TABLE sink (
    name         TEXT PRIMARY KEY,
    delivered_id INTEGER NOT NULL,
    -- Last alert of the message under way, NULL when none is: a message that is tried again is the same one.
    trying_id    INTEGER,
    -- When it had its last message.
    sent_at      REAL
) STRICT, WITHOUT ROWID;
INSERT INTO sink (name, delivered_id) SELECT 'log', coalesce(
    (SELECT min(id) - 1 FROM alert WHERE delivered = 0), (SELECT max(id) FROM alert), 0);
DROP INDEX alert_undelivered;
ALTER TABLE alert DROP COLUMN delivered;

-- The user's own works: a new file that contains one raises an alert.
CREATE TABLE work (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    digest    BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    extractor TEXT NOT NULL,
    vector    BLOB NOT NULL CHECK (length(vector) = 4096),
    name      TEXT NOT NULL UNIQUE,
    path      BLOB NOT NULL,
    added_at  REAL NOT NULL
) STRICT;

-- Which contents contain one, by digest: a content that goes and comes back is no news.
CREATE TABLE sighting (
    work_id INTEGER NOT NULL REFERENCES work ON DELETE CASCADE,
    digest  BLOB NOT NULL CHECK (length(digest) = 32),
    kind    TEXT NOT NULL CHECK (kind IN ('exact', 'copy')),
    score   REAL NOT NULL CHECK (score BETWEEN 0 AND 1),
    PRIMARY KEY (work_id, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX sighting_digest ON sighting (digest);

-- JSON: the works that the file contains.
ALTER TABLE alert ADD COLUMN watched TEXT NOT NULL DEFAULT '[]';
"""

_MAPS = """
-- A CHECK cannot be altered, and dropping a table empties those that refer to it: both are made anew.
CREATE TABLE new_model_run (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    reason          TEXT NOT NULL,
    -- tuned: hyper-parameters were sought; warm: those of the map before, and its positions as a start.
    kind            TEXT NOT NULL DEFAULT 'tuned' CHECK (kind IN ('tuned', 'warm')),
    -- JSON: what the decisions to fit, and to take the map into use or not, were made by.
    numbers         TEXT NOT NULL DEFAULT '{}',
    started_at      REAL NOT NULL,
    finished_at     REAL,
    outcome         TEXT NOT NULL CHECK
                    (outcome IN ('running', 'active', 'replaced', 'refused', 'failed', 'cancelled', 'set-aside')),
    message         TEXT NOT NULL DEFAULT '',
    code_version    TEXT NOT NULL,
    n_neighbors     INTEGER,
    n_components    INTEGER,
    trustworthiness REAL,
    neighbor_recall REAL,
    fitted_images   INTEGER,
    -- Contents in the collection when the fit began; more than fitted_images when some were left out.
    present_images  INTEGER,
    seed            INTEGER,
    duration_s      REAL,
    peak_mib        REAL,
    curve           TEXT NOT NULL DEFAULT '[]',
    artifact        TEXT,
    sha256          BLOB,
    -- 19 of 20 contents fitted lie closer than this to their nearest; the mean of `kept` of those that were not.
    far_distance    REAL,
    kept            REAL
) STRICT;
INSERT INTO new_model_run (id, reason, started_at, finished_at, outcome, message, code_version, n_neighbors,
        n_components, trustworthiness, neighbor_recall, fitted_images, present_images, seed, duration_s, peak_mib,
        curve, artifact, sha256)
    SELECT id, reason, started_at, finished_at, outcome, message, code_version, n_neighbors, n_components,
        trustworthiness, neighbor_recall, fitted_images, present_images, seed, duration_s, peak_mib, curve, artifact,
        sha256
    FROM model_run ORDER BY id;

CREATE TABLE new_position (
    run_id      INTEGER NOT NULL REFERENCES new_model_run ON DELETE CASCADE,
    content_id  INTEGER NOT NULL REFERENCES content ON DELETE CASCADE,
    -- fitted: the map was fitted on it; present: there at the fit but not fitted; added: came later.
    origin      TEXT NOT NULL CHECK (origin IN ('fitted', 'present', 'added')),
    -- float32, little-endian, n_components of them.
    coordinates BLOB NOT NULL,
    -- float32, little-endian: x and y in the two-dimensional picture.
    flat        BLOB CHECK (length(flat) = 8),
    -- Of what was projected: mean distance to the fitted neighbours, and the share of them that lies near on the map.
    distance    REAL,
    kept        REAL CHECK (kept BETWEEN 0 AND 1),
    PRIMARY KEY (run_id, content_id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_position (run_id, content_id, origin, coordinates)
    SELECT run_id, content_id, origin, coordinates FROM position ORDER BY run_id, content_id;
DROP TABLE position;
DROP TABLE model_run;
ALTER TABLE new_model_run RENAME TO model_run;
ALTER TABLE new_position RENAME TO position;
CREATE UNIQUE INDEX model_run_active ON model_run (outcome) WHERE outcome IN ('active', 'running');
CREATE INDEX position_content ON position (content_id);
CREATE INDEX position_added ON position (run_id, content_id) WHERE origin = 'added';

-- Contents up to `bound` are looked up among each other, so each pair of them is seen twice; later ones one by one.
CREATE TABLE pass (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    bound INTEGER NOT NULL
) STRICT;
INSERT INTO pass VALUES (1, 0);
"""

_LOOKS = """
-- A pair may be of two shots of one scene.  `look`: whether the files tell so, or the vectors alone.
ALTER TABLE pair ADD COLUMN kind TEXT NOT NULL DEFAULT 'copy' CHECK (kind IN ('copy', 'shot'));
ALTER TABLE pair ADD COLUMN look TEXT NOT NULL DEFAULT 'vectors' CHECK (look IN ('files', 'vectors'));
-- Version of the comparison of the two files; 0 when it has not taken place.
ALTER TABLE pair ADD COLUMN look_version INTEGER NOT NULL DEFAULT 0;
CREATE INDEX pair_looked ON pair (look_version);
-- Share of fine detail, of a content that another one is a shot of.
ALTER TABLE content ADD COLUMN sharpness REAL;

-- Copies were told by their vectors alone, which call two shots of one scene a copy: all are looked up again.
DELETE FROM pair;
UPDATE content SET matched = 0;
UPDATE pass SET bound = coalesce((SELECT max(id) FROM content), 0);
"""

_PARTS = """
-- 1 from the decision on a new file that is a copy of nothing until its parts have been looked up.
ALTER TABLE file ADD COLUMN parts_due INTEGER NOT NULL DEFAULT 0 CHECK (parts_due IN (0, 1));
CREATE INDEX file_parts_due ON file (id) WHERE parts_due = 1;
"""


def lengthened(table: str, column: str, *words: str) -> str:
    """Return the script that lets a column have more words than its CHECK lists: a migration, or a part of one.

    Parameters
    ----------
    table, column : str
        Where the list is: `CHECK (column IN ('a', 'b'))`.  Where there is none, nothing is done:
        `tests/test_migrations.py` compares each list with its enum.
    *words : str
        As text, not as members of an enum: a migration that is released stays as it is when the enum grows.  One that
        is listed already stays listed once.

    Notes
    -----
    Only the text of the table's definition is changed, which SQLite's documentation of ALTER TABLE allows for a CHECK.
    Rows, ids, indexes, triggers and the tables that refer to this one are not touched, and nothing is copied.
    """
    head = f"({column} IN ("
    rest = f"substr(sql, instr(sql, '{head}'))"
    listed = f"substr({rest}, 1, instr({rest}, ')'))"
    changes = (
        f"UPDATE sqlite_schema SET sql = replace(sql, '{head}', '{head}''{word}'', ')"  # noqa: S608 -- words of ours
        f" WHERE type = 'table' AND name = '{table}' AND NOT instr({listed}, '''{word}''');"
        for word in words
    )
    return "\n".join(["PRAGMA writable_schema = ON;", *changes, "PRAGMA writable_schema = RESET;\n"])


_FEATURES = """
-- Local features, where a user asks for them.  Beside the contents, whose rows are read for their vectors.
CREATE TABLE feature (
    content_id  INTEGER PRIMARY KEY REFERENCES content (id) ON DELETE CASCADE,
    version     INTEGER NOT NULL,    -- of how they are found
    features    BLOB    NOT NULL
) STRICT;
-- Counted and compared without reading the features themselves.
CREATE INDEX feature_version ON feature (version, content_id);
"""

_TRACES = """
-- What was done to each of a pair's contents that was not done to the other, as their files tell: words of
-- `comparison.Trace` with blanks between them.
ALTER TABLE pair ADD COLUMN traces TEXT NOT NULL DEFAULT '';
ALTER TABLE pair ADD COLUMN other_traces TEXT NOT NULL DEFAULT '';
"""

_DESCRIPTORS = """
-- By what contents are compared beside their vectors: how they look, what they show.
CREATE TABLE descriptor (
    content_id  INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    version     TEXT    NOT NULL,    -- of how it is made
    numbers     BLOB    NOT NULL,
    PRIMARY KEY (content_id, name)
) STRICT;
-- Counted and compared without reading the numbers themselves.
CREATE INDEX descriptor_kind ON descriptor (name, version, content_id);
"""

_LOCAL = """
-- Local features are descriptors of the name "local".
INSERT INTO descriptor (content_id, name, version, numbers)
    SELECT content_id, 'local', CAST(version AS TEXT), features FROM feature ORDER BY content_id;
DROP TABLE feature;
"""

_MEDIA = """
-- Of which medium a content is, and what only that knows of it, as JSON.
ALTER TABLE content ADD COLUMN medium TEXT NOT NULL DEFAULT 'image';
ALTER TABLE content ADD COLUMN details TEXT NOT NULL DEFAULT '{}';
-- What is no image is listed and counted without reading vectors; where there is none, this costs nothing.
CREATE INDEX content_other ON content (medium) WHERE medium != 'image';
DROP INDEX content_unmatched;
CREATE INDEX content_unmatched ON content (medium, id) WHERE matched = 0;

-- Parts of a content, of a medium that compares parts.
CREATE TABLE part (
    id          INTEGER PRIMARY KEY,
    content_id  INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    -- Where it begins and ends in the file, in the unit of the medium.
    place_start REAL    NOT NULL,
    place_end   REAL    NOT NULL,
    label       TEXT    NOT NULL,
    code        BLOB    NOT NULL,
    UNIQUE (content_id, number)
) STRICT;
-- Beside the codes, which are read at each start; compressed by zlib, which has a checksum of its own.
CREATE TABLE part_vector (
    part_id INTEGER PRIMARY KEY REFERENCES part (id) ON DELETE CASCADE,
    vector  BLOB NOT NULL,
    detail  BLOB NOT NULL
) STRICT;

-- The same of works.
ALTER TABLE work ADD COLUMN medium TEXT NOT NULL DEFAULT 'image';
ALTER TABLE work ADD COLUMN format TEXT NOT NULL DEFAULT '';
ALTER TABLE work ADD COLUMN details TEXT NOT NULL DEFAULT '{}';
CREATE TABLE work_part (
    work_id     INTEGER NOT NULL REFERENCES work (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    place_start REAL    NOT NULL,
    place_end   REAL    NOT NULL,
    label       TEXT    NOT NULL,
    vector      BLOB    NOT NULL,
    detail      BLOB    NOT NULL,
    PRIMARY KEY (work_id, number)
) STRICT;

-- JSON: how the first of two contents lies in the second, of a medium that compares parts.
ALTER TABLE pair ADD COLUMN lying TEXT NOT NULL DEFAULT '';

-- Each medium has its own map.
ALTER TABLE model_run ADD COLUMN medium TEXT NOT NULL DEFAULT 'image';
DROP INDEX model_run_active;
CREATE UNIQUE INDEX model_run_active ON model_run (medium, outcome) WHERE outcome IN ('active', 'running');
"""

_PUBLISHED = """
-- Under which name the contents are published in a shared index; without a row nothing below is ever written.
CREATE TABLE site (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    name   TEXT    NOT NULL,
    key    BLOB    NOT NULL CHECK (length(key) = 16),
    -- 1 while changes are noted.
    active INTEGER NOT NULL CHECK (active IN (0, 1))
) STRICT;
-- Contents whose files have changed since the shared index was told.
CREATE TABLE publish_due (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    news   INTEGER NOT NULL DEFAULT 0 CHECK (news IN (0, 1)),
    since  REAL    NOT NULL
) STRICT;
-- Contents that the shared index has.
CREATE TABLE published (
    digest BLOB    PRIMARY KEY CHECK (length(digest) = 32),
    news   INTEGER NOT NULL DEFAULT 0 CHECK (news IN (0, 1)),
    -- 1 once its copies at other sites were looked up.
    asked  INTEGER NOT NULL DEFAULT 0 CHECK (asked IN (0, 1)),
    at     REAL    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX published_unasked ON published (news DESC, at, digest) WHERE asked = 0;

CREATE TRIGGER publish_added AFTER INSERT ON file
    WHEN NEW.content_id IS NOT NULL AND (SELECT active FROM site)
BEGIN
    INSERT OR REPLACE INTO publish_due (digest, news, since)
        SELECT digest, max(NEW.alert_due, coalesce((SELECT news FROM publish_due WHERE digest = content.digest), 0)),
               (julianday('now') - 2440587.5) * 86400.0
        FROM content WHERE id = NEW.content_id;
END;
CREATE TRIGGER publish_changed AFTER UPDATE OF album_id, path, content_id ON file
    WHEN (SELECT active FROM site) AND
         (OLD.content_id IS NOT NEW.content_id OR OLD.path != NEW.path OR OLD.album_id != NEW.album_id)
BEGIN
    INSERT OR REPLACE INTO publish_due (digest, news, since)
        SELECT digest,
               max(content.id IS NOT OLD.content_id AND NEW.alert_due,
                   coalesce((SELECT news FROM publish_due WHERE digest = content.digest), 0)),
               (julianday('now') - 2440587.5) * 86400.0
        FROM content WHERE id IN (OLD.content_id, NEW.content_id);
END;
CREATE TRIGGER publish_gone AFTER DELETE ON file
    WHEN OLD.content_id IS NOT NULL AND (SELECT active FROM site)
BEGIN
    INSERT OR REPLACE INTO publish_due (digest, news, since)
        SELECT digest, coalesce((SELECT news FROM publish_due WHERE digest = content.digest), 0),
               (julianday('now') - 2440587.5) * 86400.0
        FROM content WHERE id = OLD.content_id;
END;
"""

MIGRATIONS: tuple[str, ...] = (
    _FIRST,
    _DISKS,
    _DECISIONS,
    _CHECKSUMS,
    _SINKS,
    _MAPS,
    _LOOKS,
    _FEATURES,
    _PARTS,
    _TRACES,
    _DESCRIPTORS,
    _LOCAL,
    lengthened("model_run", "kind", "rough"),
    _MEDIA,
    lengthened("alert", "kind", "damaged"),
    _PUBLISHED,
)
"""Script number i leads from version i to version i + 1."""

SCHEMA_VERSION = len(MIGRATIONS)


def version(connection: sqlite3.Connection) -> int:
    """Return the schema's version of an open index; 0 for an empty file."""
    return int(scalar(connection, "PRAGMA user_version"))


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise unless this is an index that this release can read or migrate, or an empty file; nothing is written.

    Parameters
    ----------
    connection : sqlite3.Connection
        Of the file; may be read-only.
    path : Path
        Named by the error.

    Raises
    ------
    SchemaTooNewError
        When a newer release wrote it.
    StorageError
        When it is the database of another program.
    """
    empty = scalar(connection, "SELECT count(*) FROM sqlite_schema") == 0
    if not empty and scalar(connection, "PRAGMA application_id") != APPLICATION_ID:
        raise StorageError(f"{path}: is the database of another program", hint="move it away")
    if (found := version(connection)) > SCHEMA_VERSION:
        raise SchemaTooNewError(
            f"{path}: has schema {found}, this release reads up to {SCHEMA_VERSION}",
            hint="install the release that wrote it, or give another --state",
        )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an index that `refuse_foreign` let pass to `SCHEMA_VERSION`; harmless when it is there already."""
    for number in range(version(connection), SCHEMA_VERSION):
        # executescript() commits what is open first, so BEGIN and COMMIT belong inside it.
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]}"
            f"PRAGMA user_version = {number + 1}; PRAGMA application_id = {APPLICATION_ID}; COMMIT;"
        )
