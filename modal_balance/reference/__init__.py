"""The paper's theory and its own estimators, to compare with. No strategy needs them."""
