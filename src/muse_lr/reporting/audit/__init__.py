"""Tables, figures and the page of a physics exam."""
