"""What tests do with testcontainers for Python. Its reaper's image is not to be had without the public hub."""
import sys
import traceback
import urllib.request

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import ExecWaitStrategy, HttpWaitStrategy, LogMessageWaitStrategy

testcontainers_config.ryuk_disabled = True
SERVER = ["sh", "-c", "mkdir -p /www; echo page > /www/index.html; echo ready; exec httpd -f -p 8080 -h /www"]


def serving():
    return DockerContainer("busybox:latest").with_command(SERVER).with_exposed_ports(8080)


def page(container):
    url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8080)}/"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def a_port_is_reached_after_a_line_of_the_log():
    with serving().waiting_for(LogMessageWaitStrategy("ready")) as container:
        out, err = container.get_logs()
        assert out == b"ready\n" and err == b"", (out, err)
        container.exec(["true"])
    with serving().waiting_for(HttpWaitStrategy(8080).for_status_code(200)) as container:
        assert page(container) == b"page\n"


def commands_have_codes_and_output():
    with serving().with_env("WHO", "me").waiting_for(ExecWaitStrategy(["test", "-e", "/www/index.html"])) as container:
        code, output = container.exec(["sh", "-c", "echo $WHO; exit 4"])
        assert (code, output) == (4, b"me\n"), (code, output)


def a_host_directory_is_seen():
    import tempfile
    with tempfile.TemporaryDirectory() as directory:
        with open(f"{directory}/file", "w") as file:
            file.write("kept")
        with serving().with_volume_mapping(directory, "/host", "ro") as container:
            assert container.exec(["cat", "/host/file"]).output == b"kept"


def containers_on_a_network_know_each_other():
    with Network() as network:
        with serving().with_network(network).with_network_aliases("web") as web:
            web.exec(["true"])
            with serving().with_network(network) as other:
                code, output = other.exec(["wget", "-q", "-O-", "http://web:8080/"])
                assert (code, output) == (0, b"page\n"), (code, output)


def arguments_of_the_daemon_go_through():
    options = dict(mem_limit="64m", cap_add=["NET_ADMIN"], labels={"a": "b"}, hostname="named")
    with serving().with_kwargs(**options) as container:
        assert container.exec("hostname").output == b"named\n"
        assert container.get_wrapped_container().labels["a"] == "b"


for check in [
    a_port_is_reached_after_a_line_of_the_log,
    commands_have_codes_and_output,
    a_host_directory_is_seen,
    containers_on_a_network_know_each_other,
    arguments_of_the_daemon_go_through,
]:
    name = check.__name__.replace("_", " ")
    try:
        check()
        print(f"PASS {name}", flush=True)
    except Exception:
        print(f"FAIL {name}: {' | '.join(traceback.format_exc().splitlines()[-3:])}", flush=True)
sys.exit(0)
