"""Public recordings and geometries, found locally or downloaded with checksums; the phantom's geometry."""

from einthoven.datasets.dalhousie import dalhousie_electrodes, dalhousie_frank, dalhousie_twelve_lead
from einthoven.datasets.loading import load_case, load_recording
from einthoven.datasets.registry import (
    Dataset,
    RemoteFile,
    dataset,
    dataset_file,
    dataset_path,
    is_local,
    list_datasets,
)

__all__ = [
    "Dataset",
    "RemoteFile",
    "dalhousie_electrodes",
    "dalhousie_frank",
    "dalhousie_twelve_lead",
    "dataset",
    "dataset_file",
    "dataset_path",
    "is_local",
    "list_datasets",
    "load_case",
    "load_recording",
]
