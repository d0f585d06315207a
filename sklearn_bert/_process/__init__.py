"""Services of the process, not of one fit.

- `_cache`, `_fork`: what all estimators and threads share; forked processes
- `_launch`: the processes of one script
- `_random`: a seed for each use in a call, and torch's random numbers
- `_atomic_folder`, `_folder_journal`, `_file_system`: folders written whole, at one
  moment or file by file; locks, exchange, fsync
- `_file_hash`: files that are read; `_versions`: of libraries
- `_techniques`: the switches of what saves time or memory
- `_progress`: how far a long computation is
- `_sklearn`: scikit-learn's private names; `_warn`, `_errors`
"""
