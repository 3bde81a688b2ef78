"""What an update did as one file: a page without a server, Markdown for a comment, test results for a CI."""

from xml.etree import ElementTree

from cdc_local.pages.rendering import render_text
from cdc_local.pages.summaries import DatasetSummary, UpdateSummary, now, numbered_rules
from cdc_local.pages.update_pages import describe_update


def html_report(
    summary: UpdateSummary,  # An update
) -> str:  # One file: its style is in it, it has no script and asks no server
    "Write the page of an update for those who have no server."
    return render_text("report.html", **describe_update(summary, now(), links=False))


def markdown_report(
    summary: UpdateSummary,  # An update
) -> str:  # For the comment of a merge request
    "Write what an update did as Markdown."
    return render_text("report.md", **describe_update(summary, now(), links=False))


def junit_report(
    summary: UpdateSummary,  # An update
) -> str:  # XML, as CI servers read test results
    "Write expectations as tests: one that rows broke has failed, except where the rule only warns."
    root = ElementTree.Element("testsuites", name=_printable(summary.pipeline))
    for dataset in summary.datasets.values():
        if dataset.rules or dataset.flows:
            _add_suite(root, dataset)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_suite(
    root: ElementTree.Element,  # Takes it
    dataset: DatasetSummary,  # Whose rules are the tests; each flow is one, too
) -> None:
    name, problems, skipped = _printable(dataset.name), 0, 0
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    for flow in dataset.flows:
        seconds = flow.seconds(now()) or 0
        case = ElementTree.SubElement(
            suite, "testcase", classname=name, name=f"flow {_printable(flow.name)}", time=f"{seconds:.3f}"
        )
        if flow.status == "FAILED":
            problems += 1
            ElementTree.SubElement(case, "failure", message="the flow has failed")
        elif flow.status != "COMPLETED":
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=_printable(flow.status))
    for rule, declared in numbered_rules(dataset):
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=_printable(rule.name), time="0")
        told = f"{rule.failed_records:,} of {rule.passed_records + rule.failed_records:,} rows broke it"
        if declared.get("action") == "warn":
            ElementTree.SubElement(case, "system-out").text = told
        elif rule.failed_records:
            problems += 1
            failure = ElementTree.SubElement(case, "failure", message=told)
            failure.text = _printable(str(declared.get("constraint", "")))
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(problems))
    suite.set("skipped", str(skipped))


def _printable(text: str) -> str:
    "Leave out what XML has no way to write."
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
