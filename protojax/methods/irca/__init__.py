"""IRCA: what each interferometer of a spectrometer lets through."""
