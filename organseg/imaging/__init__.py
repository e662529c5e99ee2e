"""Pictures and frames: bytes and scans to display pixels, masks back to the stored frame.

One display orientation holds everywhere: an axial slice whose rows run down to the patient's
posterior and whose columns run right to the patient's left, so the liver is on the picture's
left. A volume's slices run from feet to head. Needs numpy and Pillow only; nibabel and pydicom
(extra `volumes`) are imported by the functions that read their files.

The rooms' modules: `limits`, `decoding`, `dicom`, `windowing`, `resizing`, `orientation`,
`volumes`, `masks`, `overlay`, `encoding`.
"""
