"""How agents are compared: runs, checkpoints, budgets, jobs, evaluation, statistics and tables."""
