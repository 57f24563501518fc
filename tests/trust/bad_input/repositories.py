"""Bad repositories and checkouts."""

import shutil

from conftest import git

from trust.bad_input.case import Case, Sandbox

WORKFLOWS, SCRIPTS = "sources/ao-workflows", "sources/archive-ops"


def pull(
    name: str, says: str, todo: str, env: str = "", make=lambda sandbox: None, only: str = "ao-workflows", **kwargs
):
    """A pull of one repository; both are present unless ``env`` sets another URL."""

    def prepare(sandbox: Sandbox) -> None:
        sandbox.has("remotes")
        make(sandbox)

    return Case(name, f"pull --only {only}", says, todo, env=env, make=prepare, **kwargs)


def cloned(change):
    """Prepare a new checkout, then call ``change(sandbox, checkout)``."""

    def make(sandbox: Sandbox) -> None:
        sandbox.has("sources")
        change(sandbox, sandbox.project / WORKFLOWS)

    return make


def commit(folder, content="mine"):
    (folder / "README.md").write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "mine")


def diverged(sandbox, checkout):
    commit(checkout)
    commit(sandbox.project / "remotes/ao-workflows", "theirs")


def dirty(sandbox, checkout):
    file = next(f for f in sorted(checkout.rglob("*.py")))
    file.write_text("mine")


def without_commits(sandbox, checkout):
    shutil.rmtree(checkout)
    checkout.mkdir()
    git(checkout, "init", "--quiet")


def broken(sandbox, checkout):
    shutil.rmtree(checkout / ".git/objects")


def merging(sandbox, checkout):
    commit(sandbox.project / "remotes/ao-workflows", "theirs")
    (checkout / "README.md").write_text("mine")


def with_submodule(sandbox, checkout):
    """The newest commit has a submodule whose URL does not exist."""
    remote = sandbox.project / "remotes/ao-workflows"
    (remote / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = /no/such/sub.git\n')
    head = git(remote, "rev-parse", "HEAD")
    git(remote, "update-index", "--add", "--cacheinfo", f"160000,{head},sub")
    git(remote, "add", ".gitmodules")
    git(remote, "commit", "--quiet", "--message", "sub")


def empty_remote(sandbox):
    git(sandbox.folder("empty"), "init", "--quiet", "--bare")


URL = "AO_WORKFLOWS_URL="
REMOTES = [
    pull("a path where nothing is", "AO_WORKFLOWS_URL: there is nothing at {project}/no/such.", "Correct the path.", f"{URL}no/such"),
    pull("a file URL where nothing is", "AO_WORKFLOWS_URL: there is nothing at /no/such.", "Correct the path.", f"{URL}file:///no/such"),
    pull("an empty repository", "AO_WORKFLOWS_REF: the remote has no commits.", "git ls-remote", f"{URL}empty", empty_remote),
    pull("a folder that is no repository", "AO_WORKFLOWS_URL: {project}/plain cannot be read as a git repository", "Try: git ls-remote", f"{URL}plain", lambda sandbox: sandbox.file("plain/file")),
    pull("a file for a repository", "AO_WORKFLOWS_URL: {project}/plain cannot be read as a git repository", "Try: git ls-remote", f"{URL}plain", lambda sandbox: sandbox.file("plain")),
    pull("a branch that is not there", "AO_WORKFLOWS_REF: 'next' is no branch, tag or commit of", "git ls-remote", "AO_WORKFLOWS_REF=next"),
    pull("a commit that is not there", f"AO_WORKFLOWS_REF: '{'0' * 40}' is no branch, tag or commit of", "git ls-remote", f"AO_WORKFLOWS_REF={'0' * 40}"),
    pull("a ref that is an option", "AO_WORKFLOWS_REF: '--upload-pack=touch x' is no branch, tag or commit of", "git ls-remote", "AO_WORKFLOWS_REF='--upload-pack=touch x'"),
    pull("a ref that is a range", "AO_WORKFLOWS_REF: 'main..main' is no branch, tag or commit of", "git ls-remote", "AO_WORKFLOWS_REF=main..main"),
    pull("a ref with blanks", "AO_WORKFLOWS_REF: 'no such' is no branch, tag or commit of", "git ls-remote", "AO_WORKFLOWS_REF='no such'"),
    pull("a host that does not answer", "AO_WORKFLOWS_URL: the host '127.0.0.1' does not answer on port 1 (Connection refused).", "Check your connection", f"{URL}http://127.0.0.1:1/x.git"),
    pull("a host by git that does not answer", "AO_WORKFLOWS_URL: the host '127.0.0.1' does not answer on port 1", "Check your connection", f"{URL}git://127.0.0.1:1/x.git"),
    pull("a host by ssh that does not answer", "AO_WORKFLOWS_URL: the host '127.0.0.1' does not answer on port 1", "Check your connection", f"{URL}ssh://git@127.0.0.1:1/x.git"),
    pull("a host that nobody knows", "AO_WORKFLOWS_URL: the host 'no-such-host.invalid' is not known.", "Check the spelling", f"{URL}https://no-such-host.invalid/x.git"),
    pull("a host in short form that nobody knows", "AO_WORKFLOWS_URL: the host 'no-such-host.invalid' is not known.", "Check the spelling", f"{URL}git@no-such-host.invalid:x.git"),
    pull("a server that asks for a password", "AO_WORKFLOWS_URL: {closed_door}/x.git is private or does not exist", "Give this account access", f"{URL}{{closed_door}}/x.git"),
    pull("a server that takes no password", "is private or does not exist", "Give this account access", f"{URL}http://me:hunter2@{{closed_host}}/x.git"),
    pull("a scheme that nobody knows", "AO_WORKFLOWS_URL: git does not support 'gopher' URLs.", "Use https, ssh, git, file or a path.", f"{URL}gopher://127.0.0.1/x.git"),
    pull("a scheme without a host", "AO_WORKFLOWS_URL: the host '' is not known.", "Check the spelling", f"{URL}https:///x.git"),
    pull("a scheme that runs a command", "AO_WORKFLOWS_URL: git does not support 'ext' URLs.", "Use https", f"{URL}ext::sh -c touch% x"),
    pull("a URL that is an option", "AO_WORKFLOWS_URL: there is nothing at {project}/--upload-pack=touch x.", "Correct the path.", f"{URL}--upload-pack=touch x"),
    pull("a host that is an option", "AO_WORKFLOWS_URL: the host '-oproxycommand=touch' is not known.", "Check the spelling", f"{URL}ssh://-oProxyCommand=touch/x.git"),
    pull("a host that is an option in short form", "AO_WORKFLOWS_URL: the host '-oProxyCommand=touch' is not known.", "Check the spelling", f"{URL}-oProxyCommand=touch:x.git"),
]  # fmt: skip
CHECKOUTS = [
    pull("local changes", "{project}/sources/ao-workflows: there are local changes in 1 file(s), first", "Commit them, or type: git -C", make=cloned(dirty)),
    pull("local commits", "1 local commit(s) are not in main of the remote.", "then push, rebase or reset.", make=cloned(lambda _, checkout: commit(checkout))),
    pull("local commits and new ones", "1 local commit(s) are not in main of the remote.", "then push, rebase or reset.", make=cloned(diverged)),
    pull("a file of mine in the way", "cannot be fast-forwarded (", "See what blocks it: git -C", make=cloned(merging)),
    pull("another branch", "the checkout is on branch mine, not on branch main.", "switch main", make=cloned(lambda _, checkout: git(checkout, "switch", "--quiet", "--create", "mine"))),
    pull("no branch at all", "the checkout is detached at", "switch main", make=cloned(lambda _, checkout: git(checkout, "checkout", "--quiet", "--detach"))),
    pull("another remote", "its remote origin is ", "remote set-url origin", make=cloned(lambda _, checkout: git(checkout, "remote", "set-url", "origin", "/other"))),
    pull("no remote", "it has no remote origin, not ", "remote set-url origin", make=cloned(lambda _, checkout: git(checkout, "remote", "remove", "origin"))),
    pull("a checkout without commits", "{project}/sources/ao-workflows: the repository has no commit yet.", "Move it away", make=cloned(without_commits)),
    pull("a checkout that has lost its objects", "WORKFLOW_DEV_DIR: {project}/sources/ao-workflows holds files and is not a git repository.", "move what is there away.", make=cloned(broken)),
    pull("a file for the checkout", "WORKFLOW_DEV_DIR: {project}/sources/ao-workflows is not a folder.", "Name another, or move it away.", make=lambda sandbox: sandbox.file(WORKFLOWS), code=2),
    pull("a file above the checkout", "WORKFLOW_DEV_DIR: ", "Name another one, or move that file away.", "WORKFLOW_DEV_DIR=notes/x", lambda sandbox: sandbox.file("notes")),
    pull("a link to nowhere for the checkout", "WORKFLOW_DEV_DIR: {project}/sources/ao-workflows is not a folder.", "Name another, or move it away.", make=lambda sandbox: (sandbox.project / WORKFLOWS).symlink_to("nowhere"), code=2),
    pull("a folder of mine for the checkout", "WORKFLOW_DEV_DIR: {project}/sources/ao-workflows holds files and is not a git repository.", "Name another folder, or move", make=lambda sandbox: sandbox.file(f"{WORKFLOWS}/thesis.txt")),
    pull("a place where I may not write", "ao-workflows: {project}/sources cannot be written (Permission denied).", "Name a folder where you may write", somebody=True),
    pull("a checkout of another user", "{project}/sources/ao-workflows: the repository belongs to uid 0, so git refuses it.", "safe.directory", make=cloned(lambda *_: None), somebody=True),
    Case("both repositories at once", "pull", "AO_WORKFLOWS_URL: there is nothing at /no/a.", "Correct the path.", env="AO_WORKFLOWS_URL=/no/a\nARCHIVE_OPS_URL=/no/b", lines=2),
    Case("an up without repositories", "up", "AO_WORKFLOWS_URL: there is nothing at /no/a.", "Correct the path.", env="AO_WORKFLOWS_URL=/no/a\nARCHIVE_OPS_URL=/no/b", lines=2),
    Case("a build without checkouts", "build", "WORKFLOW_DEV_DIR: there is no checkout at {project}/sources/ao-workflows.", "Type: inv pull"),
]  # fmt: skip
CASES = [*REMOTES, *CHECKOUTS]
