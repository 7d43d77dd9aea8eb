"""Real requests and answers for the OpenAPI document: the first row of each of scikit-learn's bundled data sets."""

ZERO = [
    [0, 0, 5, 13, 9, 1, 0, 0],
    [0, 0, 13, 15, 10, 15, 5, 0],
    [0, 3, 15, 2, 0, 11, 8, 0],
    [0, 4, 12, 0, 0, 8, 8, 0],
    [0, 5, 8, 0, 0, 9, 8, 0],
    [0, 4, 11, 0, 1, 12, 7, 0],
    [0, 2, 14, 5, 10, 12, 0, 0],
    [0, 0, 6, 13, 10, 0, 0, 0],
]
ZERO_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAARklEQVR42gXBYRVAMBgAwHt7/vsiaGCaLIJGIqyCBp4EI4E1III7lLYFaG99i0Ge"
    "lh55T+LqbpI4GUm+WeQP01PqAdZW8QOg+BHx1aT2vAAAAABJRU5ErkJggg=="
)
BIOPSY = {
    "mean_radius": 17.99, "mean_texture": 10.38, "mean_perimeter": 122.8, "mean_area": 1001.0,
    "mean_smoothness": 0.1184, "mean_compactness": 0.2776, "mean_concavity": 0.3001, "mean_concave_points": 0.1471,
    "mean_symmetry": 0.2419, "mean_fractal_dimension": 0.07871, "radius_error": 1.095, "texture_error": 0.9053,
    "perimeter_error": 8.589, "area_error": 153.4, "smoothness_error": 0.006399, "compactness_error": 0.04904,
    "concavity_error": 0.05373, "concave_points_error": 0.01587, "symmetry_error": 0.03003,
    "fractal_dimension_error": 0.006193, "worst_radius": 25.38, "worst_texture": 17.33, "worst_perimeter": 184.6,
    "worst_area": 2019.0, "worst_smoothness": 0.1622, "worst_compactness": 0.6656, "worst_concavity": 0.7119,
    "worst_concave_points": 0.2654, "worst_symmetry": 0.4601, "worst_fractal_dimension": 0.1189,
}  # fmt: skip
PATIENT = {
    "age": 59.0, "sex": 2.0, "body_mass_index": 32.1, "blood_pressure": 101.0, "total_cholesterol": 157.0,
    "low_density_lipoproteins": 93.2, "high_density_lipoproteins": 38.0, "cholesterol_ratio": 4.0,
    "log_triglycerides": 4.8598, "blood_sugar": 87.0,
}  # fmt: skip
IS_ZERO = {
    "label": "0",
    "class_id": 0,
    "score": 0.99999,
    "probabilities": [0.99999, 0.0, 0.0, 0.0, 0.0, 0.0, 0.00001, 0.0, 0.0, 0.0],
}
IS_MALIGNANT = {"label": "malignant", "class_id": 1, "score": 1.0, "probabilities": [0.0, 1.0]}

# By name: what it shows, the request, and the answer (whose last digits differ from one training to the next).
PREDICTIONS = {
    "digits_classify": (
        "A digit of 8x8 pixels, with its label",
        {"signature_name": "classify", "instances": [ZERO]},
        {"predictions": [IS_ZERO]},
    ),
    "digits_file": (
        "The same digit as a PNG file",
        {"signature_name": "image_bytes", "instances": [{"b64": ZERO_PNG}]},
        {"predictions": [IS_ZERO]},
    ),
    "digits_tensor": (
        "The same digit as a tensor, probabilities only",
        {"inputs": [ZERO]},
        {"outputs": [IS_ZERO["probabilities"]]},
    ),
    "breast_cancer_named": (
        "A biopsy by the names of its measures",
        {"signature_name": "named_features", "instances": [BIOPSY]},
        {"predictions": [IS_MALIGNANT]},
    ),
    "diabetes_named": (
        "A patient by the names of the measures; the answer is in the target's unit",
        {"signature_name": "named_features", "instances": [PATIENT]},
        {"predictions": [[208.0]]},
    ),
    "diabetes_row": (
        "The same patient as a plain row",
        {"instances": [list(PATIENT.values())]},
        {"predictions": [[208.0]]},
    ),
}
VERSION_ONE = {
    "version": "1",
    "state": "AVAILABLE",
    "status": {"error_code": "OK", "error_message": ""},
    "batching": {"classify": {"enabled": True, "reason": "Its rows were found to be independent of one another."}},
}
STATUS = {"model_version_status": [VERSION_ONE]}
SUMMARY = {
    "name": "digits",
    "versions": [VERSION_ONE],
    "signatures": ["classify", "image_bytes", "serving_default"],
    "task": "multiclass",
    "labels": [str(digit) for digit in range(10)],
    "input": {"kind": "image", "name": "image", "shape": [8, 8], "range": [0, 16]},
    "features": [],
    "target": {"name": "digit", "unit": ""},
    "metrics": {"test": {"accuracy": 0.98}, "baseline": {"trivial": {"accuracy": 0.1}}},
    "operating_point": None,
    "example": {"signature_name": "serving_default", "instances": [ZERO], "expected": "0"},
}
