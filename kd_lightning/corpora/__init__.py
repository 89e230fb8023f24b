"""Speech corpora in their published folder layouts, one LightningDataModule each."""
