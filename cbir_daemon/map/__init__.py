"""The map of the collection: neighbour graph, tuned UMAP, positions.

In: codes.  Out: fitted maps on disk, and positions on them.  Never here: paths of images, sockets, SQL.

What is exported here is what the daemon imports: it never brings in umap, numba, scikit-learn or joblib, which only the
child processes (`fit_child`, `project_child`) do.
"""

from cbir_daemon.map.artifact import MODEL_VERSION, ArtifactRefusedError, check_artifact, remove_artifacts
from cbir_daemon.map.fit import Fit, FitProgress, FitResult, FitSettings, FitWarning, Previous
from cbir_daemon.map.projector import Placement, Projector

__all__ = [
    "MODEL_VERSION",
    "ArtifactRefusedError",
    "Fit",
    "FitProgress",
    "FitResult",
    "FitSettings",
    "FitWarning",
    "Placement",
    "Previous",
    "Projector",
    "check_artifact",
    "remove_artifacts",
]
