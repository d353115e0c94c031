"""Ablation studies: train variants of one configuration with several seeds and compare them.

:mod:`.study` reads the study file and plans the runs, :mod:`.execute` trains them.
:mod:`.aggregate` and :mod:`.statistics` compute means, intervals and paired differences;
:mod:`.outcome` says the result in sentences; :mod:`.tables`, :mod:`.breakdowns`, :mod:`.shared`,
:mod:`.report_figures` and :mod:`.report` write the report.
"""
