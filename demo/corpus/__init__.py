"""The demo model's own corpus: every word and sentence in it is made by these modules."""
