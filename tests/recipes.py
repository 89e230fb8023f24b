"""Which recipes of ``conf/transfer`` are for which task."""

from kd_lightning.experiment.compose import conf_folder

ALL = sorted(path.stem for path in (conf_folder() / "transfer").glob("*.yaml"))
RECOGNITION = [name for name in ALL if name.startswith(("ctc_", "sequence", "attention_"))]
KEYWORD = [name for name in ALL if name not in RECOGNITION]
