"""Figures and reports of training runs and ablation studies.

:mod:`.runs` and :mod:`.predictions` read the files of a run, :mod:`.figures` prepares the data of
the figures; :mod:`.plots` and :mod:`.comparison_plots` draw them. :mod:`.html` has the content of
reports and renders it as HTML, :mod:`.markdown` as Markdown; :mod:`.run_report` writes the report
of a run. :mod:`.coarse_summary` and :mod:`.coarse_pictures` show the coarse nodes of a structure.
"""
