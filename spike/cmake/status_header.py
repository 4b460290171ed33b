"""Writes the C header of libnrt's statuses: ``status_header.py STATUS_PY HEADER``."""

import runpy
import sys

HEADER = """\
/* libnrt's statuses, each as X(name, number). Made by spike's build. */
#ifndef SPIKE_STATUSES_H
#define SPIKE_STATUSES_H

#define SPIKE_NRT_STATUSES(X) \\
{statuses}

#endif
"""

source, header = sys.argv[1:]
statuses = runpy.run_path(source)["NrtStatus"]
lines = [f"  X({status.nrt_name}, {status.value})" for status in statuses]
with open(header, "w") as file:
    file.write(HEADER.format(statuses=" \\\n".join(lines)))
