"""The verbs of the command line, one module each; heavy imports happen when a verb runs."""
