"""Reference implementations of the paper's theory and estimators; no strategy uses them."""
