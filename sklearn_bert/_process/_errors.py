"""The errors of checkpoints and of saved folders."""


class CheckpointError(OSError, ValueError):
    """A checkpoint cannot be used; the subclasses say why."""

    __module__ = "sklearn_bert"


class CheckpointNotFoundError(CheckpointError):
    """There is no checkpoint of this name, here or on the Hub."""

    __module__ = "sklearn_bert"


class OfflineCheckpointError(CheckpointError):
    """The checkpoint is not on this machine, and the Hub cannot be reached."""

    __module__ = "sklearn_bert"


class GatedCheckpointError(CheckpointError):
    """The Hub gives the checkpoint only to accounts that accepted its terms."""

    __module__ = "sklearn_bert"


class DamagedCheckpointError(CheckpointError):
    """The folder exists, but a file is missing, broken or of an unsupported kind."""

    __module__ = "sklearn_bert"
