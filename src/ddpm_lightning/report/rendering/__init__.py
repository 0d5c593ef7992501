"""A report as Markdown, CSV, figures and one HTML page."""
