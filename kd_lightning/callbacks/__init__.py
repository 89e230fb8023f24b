"""What a run keeps and watches while it trains."""
