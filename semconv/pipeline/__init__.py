"""Stages as runs: the only place that knows all of them.

:mod:`context` says which runs are current; :mod:`embedding`, :mod:`tokenizing`,
:mod:`tuning_stage`, :mod:`recommending` and :mod:`evaluating` execute the stages through a ``RunBook``.
Lists are computed by a :mod:`list_job`, whose shards one of the :mod:`engines` hands out.
"""
