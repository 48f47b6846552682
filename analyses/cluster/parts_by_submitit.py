"""A study in parts on Slurm, or on this machine where there is none, by submitit:

python analyses/cluster/parts_by_submitit.py 8 OUT lesion --arch resnet110
"""

import sys
from pathlib import Path

import submitit

from resnet_probe.cli import main

if __name__ == "__main__":
    parts, out, words = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    folders = [str(out.absolute()) + f"-part-{part}" for part in range(1, parts + 1)]
    executor = submitit.AutoExecutor(folder="submitit")
    executor.update_parameters(timeout_min=240, cpus_per_task=2, mem_gb=4)
    ways = [[*words, "--part", f"{n}/{parts}", "--out", f] for n, f in enumerate(folders, 1)]
    statuses = [job.result() for job in executor.map_array(main, ways)]
    sys.exit(any(statuses) or main(["merge", *folders, "--out", str(out)]))
