"""The names of the figures in `metrics.json`."""

CLASSIFICATION = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "expected_calibration_error": "expected calibration error",
}
"""Key and words of a classifier's figures."""
REGRESSION = {
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "mae_standardized": "MAE, standardized",
    "rmse_standardized": "RMSE, standardized",
}
"""Key and words of a regression's figures."""
WORDS = CLASSIFICATION | REGRESSION
ERRORS = frozenset({"log_loss", "expected_calibration_error", "mae", "rmse", "mae_standardized", "rmse_standardized"})
"""The figures of which less is better."""
