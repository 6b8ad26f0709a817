"""The process that fits a map.

In: one frame that names a folder with the codes and their ids, and carries the settings.  Out: frames of progress, then
the report with rows, positions and what else was found, or the sentence that says why there is no map.  Never here: how
a map is fitted (`fitting`), when.
"""

from __future__ import annotations

from pathlib import Path

from cbir_daemon.errors import CbirError
from cbir_daemon.map.fit import FitSettings, Stage
from cbir_daemon.map.fitting import Fitting
from cbir_daemon.medium import Metric
from cbir_daemon.protocol.framing import Frame
from cbir_daemon.system.child import Channel, serve
from cbir_daemon.system.priority import NICENESS


def answer(frame: Frame, channel: Channel) -> None:
    """Fit a map; the daemon ends the process.

    Parameters
    ----------
    frame : Frame
        Its message has `folder`, a path, and `settings`, the fields of `FitSettings`.
    channel : Channel
        Gets a message for each step and for what should be logged, then the report with its arrays, or `failed` and
        `hint` when there is no map.
    """
    fields = frame.message["settings"]
    settings = FitSettings(**fields | {"metric": Metric(fields["metric"])})

    def tell(stage: Stage, done: int, total: int, message: str) -> None:
        channel.send({"stage": stage, "done": done, "total": total, "message": message})

    def warn(message: str) -> None:
        channel.send({"warning": message})

    try:
        message, blob = Fitting(Path(frame.message["folder"]), settings, tell, warn).run()
    except CbirError as error:
        channel.send({"failed": error.message, "hint": error.hint})
    except MemoryError:
        channel.send({"failed": "not enough memory to fit the map", "hint": "lower max_fit_images"})
    else:
        channel.send(message, blob)


if __name__ == "__main__":
    serve(answer, nice=NICENESS)
