"""The paper, one idea per file. Read them in this order:

1. ``plain_cascade``: box and mask heads in a cascade, in parallel (eq. 1).
2. ``interleaved``: masks on the boxes this stage has just refined (eq. 2).
3. ``mask_flow``: each mask head also sees the mask feature of the previous one (eqs. 3-5).
4. ``semantic``: scene context for boxes and masks (eq. 6).

Beyond the paper: ``feature_relay``, the box head's feature handed to the mask head (SCNet).

Where a function takes ``run``, it calls the parts of the network through it. By default that is a plain call;
``htc_lab.shared_work`` has a ``run`` that makes no call twice.
"""
