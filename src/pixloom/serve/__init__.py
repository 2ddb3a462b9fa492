"""The server: translations over HTTP with finite limits, a page, and a view of trainings."""
