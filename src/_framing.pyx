# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The data path: raw descriptors <-> librdkafka buffers, without the GIL and without a Python object per record.

`Inlet` takes a topic's records to the Calculator's STDIN, `Outlet` takes its STDOUT to a topic, and the ledger between
them knows what is in flight. All of that is C, in the files beside the parts included here, which are its shell: Python
starts the two threads, gives orders, and reads counters and notices.
"""

include "framing/kernels.pxi"
include "framing/rdkafka.pxi"
include "framing/ledger.pxi"
include "framing/outlet.pxi"
include "framing/inlet.pxi"
include "framing/input_watch.pxi"
