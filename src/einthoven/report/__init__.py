"""The report page and still figures."""
