"""Words of a command line that make any stage take a second."""

QUICK = (
    "logger=csv",
    "corpus.labelled_fraction=0.5",
    "corpus.batch_size=16",
    "corpus.views=4",
    "teacher.network.depth=8",
    "teacher.network.width=0.5",
    "student.network.width=0.25",
    "save_every_steps=2",
    "trainer.enable_progress_bar=false",
    "distiller.log_every=2",
    "stages.teacher.trainer.max_epochs=2",
    "stages.distill.trainer.max_epochs=2",
    "stages.finetune.trainer.max_epochs=1",
    "callbacks=none",
)
