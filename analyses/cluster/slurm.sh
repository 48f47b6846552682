#!/bin/bash
# A study in eight parts, each a task of a Slurm array, put together when all of them have ended:
#   sbatch --wait analyses/cluster/slurm.sh lesion --arch resnet110
#   python -m resnet_probe merge runs/lesion-resnet110-digits-part-*-of-8
# More tasks take smaller parts; a task that was ended goes on where it was (--requeue).
#SBATCH --array=1-8
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --requeue
python -m resnet_probe "$@" --part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
