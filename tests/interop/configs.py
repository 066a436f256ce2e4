"""Config files as a person writes them for mmdet 3: a small HTC over base files."""

from pathlib import Path

RUNTIME = """
default_scope = 'mmdet'
default_hooks = dict(logger=dict(type='LoggerHook', interval=50))
load_from = None
"""

SCHEDULE = """
# twelve epochs
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001))
auto_scale_lr = dict(enable=False, base_batch_size=16)
"""

DATA = """
data_root = 'somewhere/'
backend_args = None
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='CocoDataset',
        ann_file=data_root + 'train.json',
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline))
test_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=backend_args),
            dict(type='Resize', scale=(1333, 800), keep_ratio=True),
            dict(type='PackDetInputs', meta_keys=('img_id', 'scale_factor')),
        ]))
"""


def box_head(stds: str) -> str:
    return f"""dict(
    type='Shared2FCBBoxHead', in_channels=256, fc_out_channels=1024, roi_feat_size=7, num_classes=80,
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.], target_stds={stds}),
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))"""


def mask_head(more: str = "") -> str:
    return f"""dict(
    type='HTCMaskHead', {more} num_convs=4, in_channels=256, conv_out_channels=256, num_classes=80,
    loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))"""


def rcnn(iou: float) -> str:
    return f"""dict(
    assigner=dict(type='MaxIoUAssigner', pos_iou_thr={iou}, neg_iou_thr={iou}, min_pos_iou={iou}),
    sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
    mask_size=28, pos_weight=-1, debug=False)"""


def extractor(size: int, strides: str) -> str:
    return f"""dict(
    type='SingleRoIExtractor', out_channels=256, featmap_strides={strides},
    roi_layer=dict(type='RoIAlign', output_size={size}, sampling_ratio=0))"""


MODEL = f"""
levels = [4, 8, 16, 32]
model = dict(
    type='HybridTaskCascade',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True, style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(
        type='RPNHead', in_channels=256, feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=levels + [64]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[.0, .0, .0, .0], target_stds=[1., 1., 1., 1.]),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)),
    roi_head=dict(
        type='HybridTaskCascadeRoIHead', interleaved=True, mask_info_flow=True,
        num_stages=3, stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor={extractor(7, "levels")},
        bbox_head=[
            {box_head("[0.1, 0.1, 0.2, 0.2]")},
            {box_head("[0.05, 0.05, 0.1, 0.1]")},
            {box_head("[0.033, 0.033, 0.067, 0.067]")}],
        mask_roi_extractor={extractor(14, "levels")},
        mask_head=[{mask_head("with_conv_res=False,")}, {mask_head()}, {mask_head()}]),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3),
            sampler=dict(
                type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=0, pos_weight=-1, debug=False),
        rpn_proposal=dict(
            nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=[{rcnn(0.5)}, {rcnn(0.6)}, {rcnn(0.7)}]),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            score_thr=0.001, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100, mask_thr_binary=0.5)))
"""

SEMANTIC = f"""
model = dict(
    data_preprocessor=dict(pad_seg=True),
    roi_head=dict(
        semantic_roi_extractor={extractor(14, "[8]")},
        semantic_head=dict(
            type='FusedSemanticHead', num_ins=5, fusion_level=1, seg_scale_factor=1 / 8, num_convs=4,
            in_channels=256, conv_out_channels=256, num_classes=183,
            loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2))))
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args={{{{_base_.backend_args}}}}),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True),
    _base_.train_pipeline[2],
] + _base_.train_pipeline[3:]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""

STAGE = """
        dict(
            assigner=dict(**_base_.model.train_cfg.rcnn[{t}]['assigner'], **_off),
            sampler=_base_.model.train_cfg.rcnn[{t}].sampler, mask_size=28),"""

CASCADE = f"""
_off = dict(match_low_quality=False)
model = dict(
    type='CascadeRCNN',
    roi_head=dict(
        _delete_=True,
        type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor={extractor(7, "[4, 8, 16, 32]")},
        bbox_head=_base_.model.roi_head.bbox_head,
        mask_roi_extractor={extractor(14, "[4, 8, 16, 32]")},
        mask_head=dict(
            type='FCNMaskHead', num_convs=4, in_channels=256, conv_out_channels=256, num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0))),
    train_cfg=dict(rcnn=[{STAGE.format(t=0)}{STAGE.format(t=1)}{STAGE.format(t=2)}
    ]),
    test_cfg=dict(rcnn=dict(score_thr=0.05)))
"""


def tree(folder: Path) -> Path:
    """The whole tree; returns the folder with ``without.py``, ``htc.py`` and ``cascade.py``."""
    bases, models = folder / "_base_", folder / "htc"
    bases.mkdir(parents=True)
    models.mkdir()
    (bases / "runtime.py").write_text(RUNTIME)
    (bases / "schedule.py").write_text(SCHEDULE)
    (bases / "data.py").write_text(DATA)
    base = "_base_ = [\n    '../_base_/runtime.py', '../_base_/schedule.py', '../_base_/data.py']\n"
    (models / "without.py").write_text(base + MODEL)
    child(models, "htc", "without", SEMANTIC)
    child(models, "cascade", "without", CASCADE)
    return models


def child(models: Path, name: str, base: str, text: str) -> Path:
    """A config over another of the folder."""
    path = models / f"{name}.py"
    path.write_text(f"_base_ = './{base}.py'\n{text}")
    return path


# ---- the layouts before mmdet 3

OLD_DATA = """
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', img_scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels', 'gt_masks'])]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(1333, 800), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
data = dict(
    PER_GPU=2, workers_per_gpu=2,
    train=dict(type='CocoDataset', ann_file='train.json', img_prefix='train/', pipeline=train_pipeline),
    val=dict(type='CocoDataset', ann_file='val.json', img_prefix='val/', pipeline=test_pipeline),
    test=dict(type='CocoDataset', ann_file='val.json', img_prefix='val/', pipeline=test_pipeline))
evaluation = dict(metric=['bbox', 'segm'])
"""

OLD_SCHEDULE = """
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
"""

SECOND_RUNTIME = """
runner = dict(type='EpochBasedRunner', max_epochs=12)
checkpoint_config = dict(interval=1)
custom_hooks = [dict(type='NumClassCheckHook')]
load_from = None
resume_from = None
workflow = [('train', 1)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
"""


def second(folder: Path) -> Path:
    """HTC as mmdet 2 writes it: ``without.py`` (no semantic branch) in the folder, and ``htc.py`` over it."""
    folder.mkdir(parents=True, exist_ok=True)
    before, _, after = MODEL.partition("    data_preprocessor=dict(")
    model = before + after.partition("pad_size_divisor=32),\n")[2]
    model = model.replace("style='pytorch',\n", "style='pytorch'),\n", 1)
    model = model.replace(
        "        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),\n", ""
    )
    model = model.replace(
        "type='HybridTaskCascade',", "type='HybridTaskCascade', pretrained='torchvision://resnet50',"
    )
    data = OLD_DATA.replace("PER_GPU", "samples_per_gpu")
    (folder / "without.py").write_text(model + data + OLD_SCHEDULE + SECOND_RUNTIME)
    semantic = SEMANTIC.partition("train_pipeline")[0].replace("data_preprocessor=dict(pad_seg=True),", "")
    semantic = semantic.replace("seg_scale_factor=1 / 8, ", "")
    shrunk = "dict(type='SegRescale', scale_factor=1 / 8)"
    shrunk = f"_base_.train_pipeline[:6] + [{shrunk}] + _base_.train_pipeline[6:]"
    child(folder, "htc", "without", f"{semantic}data = dict(train=dict(pipeline={shrunk}))\n")
    return folder


def _first_box_head(stds: str) -> str:
    return f"""dict(
    type='SharedFCBBoxHead', num_fcs=2, in_channels=256, fc_out_channels=1024, roi_feat_size=7,
    num_classes=81, target_means=[0., 0., 0., 0.], target_stds={stds}, reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0))"""


def _first_extractor(size: int, strides: str) -> str:
    return f"""dict(
    type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', out_size={size}, sample_num=2),
    out_channels=256, featmap_strides={strides})"""


def _first_proposals(count: int) -> str:
    return (
        f"dict(nms_across_levels=False, nms_pre={count}, nms_post={count}, max_num={count}, nms_thr=0.7, "
        "min_bbox_size=0)"
    )


FIRST = f"""
model = dict(
    type='HybridTaskCascade', num_stages=3, pretrained='torchvision://resnet50',
    interleaved=True, mask_info_flow=True,
    backbone=dict(
        type='ResNet', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), frozen_stages=1, style='pytorch'),
    neck=dict(type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(
        type='RPNHead', in_channels=256, feat_channels=256, anchor_scales=[8], anchor_ratios=[0.5, 1.0, 2.0],
        anchor_strides=[4, 8, 16, 32, 64], target_means=[.0, .0, .0, .0], target_stds=[1.0, 1.0, 1.0, 1.0],
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0 / 9.0, loss_weight=1.0)),
    bbox_roi_extractor={_first_extractor(7, "[4, 8, 16, 32]")},
    bbox_head=[
        {_first_box_head("[0.1, 0.1, 0.2, 0.2]")},
        {_first_box_head("[0.05, 0.05, 0.1, 0.1]")},
        {_first_box_head("[0.033, 0.033, 0.067, 0.067]")}],
    mask_roi_extractor={_first_extractor(14, "[4, 8, 16, 32]")},
    mask_head=dict(
        type='HTCMaskHead', num_convs=4, in_channels=256, conv_out_channels=256, num_classes=81,
        loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0)),
    semantic_roi_extractor={_first_extractor(14, "[8]")},
    semantic_head=dict(
        type='FusedSemanticHead', num_ins=5, fusion_level=1, num_convs=4, in_channels=256,
        conv_out_channels=256, num_classes=183, ignore_label=255, loss_weight=0.2))
train_cfg = dict(
    rpn=dict(
        assigner=dict(
            type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, ignore_iof_thr=-1),
        sampler=dict(
            type='RandomSampler', num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
        allowed_border=0, pos_weight=-1, debug=False),
    rpn_proposal={_first_proposals(2000)},
    rcnn=[{rcnn(0.5)}, {rcnn(0.6)}, {rcnn(0.7)}],
    stage_loss_weights=[1, 0.5, 0.25])
test_cfg = dict(
    rpn={_first_proposals(1000)},
    rcnn=dict(
        score_thr=0.001, nms=dict(type='nms', iou_thr=0.5), max_per_img=100, mask_thr_binary=0.5),
    keep_all_stages=False)
"""


def first(folder: Path) -> Path:
    """HTC as mmdet 1 writes it: ``htc.py`` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    data = OLD_DATA.replace("PER_GPU", "imgs_per_gpu")
    shrunk = "    dict(type='SegRescale', scale_factor=1 / 8),\n    dict(type='DefaultFormatBundle'),"
    data = data.replace("    dict(type='DefaultFormatBundle'),", shrunk)
    (folder / "htc.py").write_text(FIRST + data + OLD_SCHEDULE + "total_epochs = 12\n")
    return folder
