"""Many processes: the same script under torchrun, stopped and saved together, never hung."""

from camshaft.distributed.__about__ import __version__
from camshaft.distributed._errors import RankLostError, RankMissingError, RanksApartError
from camshaft.distributed._process import Process
from camshaft.distributed._start import start

__all__ = [
    "Process",
    "RankLostError",
    "RankMissingError",
    "RanksApartError",
    "__version__",
    "start",
]
