"""LightningModules that hold a trainable student and, where there is one, a frozen teacher."""
