"""ScaleProtoSeg: classes of pixels by grouped prototypes of several scales."""
