"""Meaning: what a picture shows, told by a neural network, in 128 numbers.

In: small upright pictures.  Out: descriptors, of which the cosine says how alike two pictures are in what they show.
Never here: files of albums, SQL, which contents are compared.

Off until `[meaning] model` names a network.  `network` alone imports onnx and `running` alone onnxruntime; only the
process `worker` imports these two.
"""

from cbir_daemon.meaning.descriptors import NUMBERS, units
from cbir_daemon.meaning.meaning import EXTRA, NAME, Meaning, is_installed
from cbir_daemon.meaning.space import meaning_space

__all__ = ["EXTRA", "NAME", "NUMBERS", "Meaning", "is_installed", "meaning_space", "units"]
