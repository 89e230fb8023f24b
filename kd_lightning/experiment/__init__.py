"""From a config to objects: the only room that knows Hydra and OmegaConf."""
