# Runs ranks 0 and 1 of PROGRAM by PYTHON, each on a host of its own: two network
# namespaces with a cable between them. For "unshare --user --map-root-user --net sh".
set -e
ip link set lo up
unshare --net sleep 600 &
other=$!
trap 'kill "$other"' EXIT
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do
    sleep 0.05
done
ip link add cable0 type veth peer name cable1 netns "$other"
ip addr add 10.213.7.1/24 dev cable0
ip link set cable0 up
nsenter --net --target "$other" ip addr add 10.213.7.2/24 dev cable1
nsenter --net --target "$other" ip link set lo up
nsenter --net --target "$other" ip link set cable1 up
export NEURON_RT_ROOT_COMM_ID=10.213.7.1:6213
RANK=0 NEURON_RT_VISIBLE_CORES=0 "$PYTHON" -c "$PROGRAM" &
first=$!
RANK=1 NEURON_RT_VISIBLE_CORES=1 \
    nsenter --net --target "$other" "$PYTHON" -c "$PROGRAM"
wait "$first"
