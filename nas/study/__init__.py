"""The Optuna study: ask and tell, storage, and what survives a kill."""
