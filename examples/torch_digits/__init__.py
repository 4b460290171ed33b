"""Networks of torch's, trained on handwritten digits on the device "nkipy"."""
