"""Patients whom the headers of DICOM files tell apart, where no name of a file or folder does."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from bcadv.data.records import Record
from bcadv.data.sources.choose import is_dicom


def with_patients(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """DICOM files with the patients of their headers, and what is to be said of them."""
    files = [record.path for record in records if is_dicom(record.path)]
    if not files:
        return list(records), []
    from bcadv.dicom import patient_of

    with ThreadPoolExecutor() as pool:
        patients = dict(zip(files, pool.map(patient_of, files), strict=True))
    known = set(patients.values()) - {None}
    said = (
        f"The patients of {len(files)} DICOM files are told by the number in their headers, which "
        f"is shown as a digest: {len(known)} patients."
    )
    found = [replace(record, patient=patients.get(record.path)) for record in records]
    return found, [said] if known else []
