"""Report of a study: first sentence, tables, figures and the page."""
