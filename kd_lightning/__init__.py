"""Knowledge distillation for speech, as an experiment framework on Lightning and Hydra."""
