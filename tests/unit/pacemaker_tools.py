"""Pacemaker's programs, as they answer ``apply``: stand-ins, and what crm_simulate and crm_mon say of a pair."""

from corosync_cmap import nodelist
from hafailover.crm.local import Result

LIVE = """<cib epoch="4" num_updates="7" admin_epoch="2" validate-with="pacemaker-3.7"><configuration><crm_config>
<cluster_property_set id="o"><nvpair id="o1" name="cluster-name" value="c1"/></cluster_property_set></crm_config>
<nodes><node id="1" uname="db1"/><node id="2" uname="db2"/></nodes><resources/><constraints/></configuration>
<status><node_state id="1" uname="db1"/><node_state id="2" uname="db2"/></status></cib>"""
CMAP = "nodelist.local_node_pos (u32) = 0\n" + nodelist(
    {"name": "db1", "nodeid": 1, "ring0_addr": "10.77.0.11", "ring1_addr": "10.77.1.11"},
    {"name": "db2", "nodeid": 2, "ring0_addr": "10.77.0.12", "ring1_addr": "10.77.1.12"},
)
NO_EFFECT = '<pacemaker-result><actions/><transition/><status code="0"/></pacemaker-result>'


class Tools:
    """Stands in for Pacemaker's programs: ``answers`` of each in order, the last one for ever; ``calls`` as they came."""

    def __init__(self, **answers):
        self.answers = {
            "cibadmin --query": [Result(0, LIVE, "")],
            "crm_verify": [Result(0, "", "")],
            "crm_simulate": [Result(0, NO_EFFECT, "")],
            "crm_diff": [Result(1, "<diff/>", "")],
            "cibadmin --patch": [Result(0, "", "")],
            "corosync-cmapctl": [Result(0, CMAP, "")],
            "attrd_updater": [Result(78, "", "attribute does not exist")],
        }
        self.answers.update({name.replace("__", " --"): list(given) for name, given in answers.items()})
        self.calls = []

    def __call__(self, argv, timeout=None, input=None):
        name = " ".join(argv[:2]) if argv[0] == "cibadmin" else argv[0]
        self.calls.append(name)
        answers = self.answers[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def simulated(*actions):
    inner = "".join(f'<rsc_action action="{name}" resource="{what}" node="{node}"/>' for name, what, node in actions)
    inner += '<node_action task="stonith" node="db2"/>'
    return Result(
        0, f'<pacemaker-result><actions>{inner}</actions><transition/><status code="0"/></pacemaker-result>', ""
    )


def state(
    vip="", db="", nodes='<node name="db1" online="true"/><node name="db2" online="true"/>', dc="true", quorum="true"
):
    return Result(
        0,
        f'<pacemaker-result><summary><current_dc present="{dc}" with_quorum="{quorum}"/></summary><nodes>{nodes}</nodes><resources>'
        f'<resource id="vip" managed="true" {vip}/><clone id="db-clone">{db}</clone></resources>'
        '<failures><failure op_key="vip_start_0" node="db1" task="start" exitreason="no such interface"/></failures>'
        '<status code="0"/></pacemaker-result>',
        "",
    )


def instance(role, active="true", **more):
    extra = " ".join(f'{key}="{value}"' for key, value in more.items())
    return f'<resource id="db:0" managed="true" active="{active}" role="{role}" {extra}/>'
