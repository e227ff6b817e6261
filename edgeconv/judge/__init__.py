"""Is a file what it should be: outputs against the float reference, figures, budgets, verdict."""
