"""Every case of pull, against real repositories."""

import os
import shutil

import pytest
from conftest import git, snapshot

from airflow_docker.errors import UserError
from airflow_docker.settings import Secret
from airflow_docker.sources import checkouts, pulls, repos


def source(remote, path, ref="", url=None):
    url = str(remote.bare) if url is None else url
    return checkouts.Source(
        "ao-workflows", url, Secret(""), ref, path, "AO_WORKFLOWS_URL", "AO_WORKFLOWS_REF", "WORKFLOW_DEV_DIR"
    )


def sync(*args, **kwargs):
    return pulls.sync(source(*args, **kwargs), lambda stage, part: None)


@pytest.fixture
def checkout(remote, tmp_path):
    """A fresh clone made by us."""
    sync(remote, tmp_path / "here" / "checkout")
    return tmp_path / "here" / "checkout"


def refused(remote, checkout, ref="", url=None):
    """The message of a pull that must change nothing."""
    before = snapshot_of(checkout)
    with pytest.raises(UserError) as caught:
        sync(remote, checkout, ref, url)
    assert snapshot_of(checkout) == before
    return caught.value.text


def snapshot_of(checkout):
    """The work tree and where git says it stands; fetched objects do no harm."""
    tree = {k: v for k, v in snapshot(checkout).items() if not k.startswith(".git/")}
    return (
        tree,
        (checkout / ".git" / "HEAD").read_text(),
        git(checkout, "rev-parse", "HEAD"),
        git(checkout, "status", "--porcelain"),
    )


def test_clones_what_is_missing(remote, tmp_path):
    pulled = sync(remote, tmp_path / "deep" / "er" / "checkout")
    assert (pulled.branch, pulled.old) == ("main", None)
    assert pulled.new == git(remote.tree, "rev-parse", "HEAD")
    assert (tmp_path / "deep/er/checkout/file.txt").read_text() == "first"
    assert os.listdir(tmp_path / "deep" / "er") == ["checkout"]
    assert git(tmp_path / "deep/er/checkout", "status", "--branch", "--porcelain") == "## main...origin/main"


def test_clones_into_an_empty_folder_and_from_a_file_url(remote, tmp_path):
    (tmp_path / "empty").mkdir()
    assert sync(remote, tmp_path / "empty", url=f"file://{remote.bare}").old is None


def test_fast_forwards_and_says_from_where_to_where(remote, checkout):
    old = git(checkout, "rev-parse", "HEAD")
    new = remote.commit("second")
    pulled = sync(remote, checkout)
    assert (pulled.old, pulled.new) == (old, new)
    assert pulled.text == f"ao-workflows: main, {old[:10]} → {new[:10]}"
    assert (checkout / "file.txt").read_text() == "second"


def test_nothing_new(remote, checkout):
    pulled = sync(remote, checkout)
    assert pulled.old == pulled.new
    assert pulled.text == f"ao-workflows: main, already at {pulled.new[:10]}"


def test_branch_tag_and_commit(remote, tmp_path):
    first = git(remote.tree, "rev-parse", "HEAD")
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v1", "HEAD:side")
    remote.commit("second")
    for ref, head in [("v1", "HEAD"), (first, "HEAD"), (first[:8], "HEAD"), ("side", "side")]:
        path = tmp_path / f"at-{ref}"
        assert sync(remote, path, ref).new == first
        assert git(path, "rev-parse", "--abbrev-ref", "HEAD") == head
        assert sync(remote, path, ref).new == first  # again, with nothing new


def test_a_moved_tag_setting_goes_forward(remote, tmp_path):
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v1")
    sync(remote, tmp_path / "x", "v1")
    new = remote.commit("second")
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v2")
    assert sync(remote, tmp_path / "x", "v2").new == new
    assert git(tmp_path / "x", "rev-parse", "HEAD") == new


def test_local_changes(remote, checkout):
    (checkout / "file.txt").write_text("mine")
    remote.commit("second")
    message = refused(remote, checkout)
    assert "there are local changes in 1 file(s), first file.txt." in message
    assert f"git -C {checkout} stash" in message


def test_staged_changes(remote, checkout):
    (checkout / "new.txt").write_text("mine")
    git(checkout, "add", "new.txt")
    assert "local changes in 1 file(s), first new.txt" in refused(remote, checkout)


def test_an_untracked_file_in_the_way(remote, checkout):
    remote.commit("theirs", file="both.txt")
    (checkout / "both.txt").write_text("mine")
    assert "cannot be fast-forwarded" in refused(remote, checkout)
    assert not (checkout / ".git/airflow-docker.step").exists()
    (checkout / "both.txt").write_text("")  # which a step that was killed might have begun so
    assert "'both.txt' would be overwritten" in refused(remote, checkout)
    assert "cannot be fast-forwarded" in refused(remote, checkout)


def test_an_ignored_file_in_the_way_is_gits_to_replace(remote, checkout):
    remote.commit("*.tmp\n", file=".gitignore")
    sync(remote, checkout)
    (checkout / "x.tmp").write_text("mine")
    (remote.tree / "x.tmp").write_text("theirs")
    git(remote.tree, "add", "--force", "x.tmp")
    remote.commit("more", file="other.txt")
    sync(remote, checkout)
    assert (checkout / "x.tmp").read_text() == "theirs"


def test_an_untracked_file_that_is_not_in_the_way(remote, checkout):
    (checkout / "notes.txt").write_text("mine")
    remote.commit("second")
    sync(remote, checkout)
    assert (checkout / "notes.txt").read_text() == "mine"


def test_local_commits(remote, checkout):
    (checkout / "file.txt").write_text("mine")
    git(checkout, "commit", "--quiet", "--all", "--message", "mine")
    assert "1 local commit(s) are not in main of the remote" in refused(remote, checkout)
    remote.commit("second")
    assert "1 local commit(s) are not in main of the remote" in refused(remote, checkout)


def test_another_remote(remote, checkout, tmp_path):
    shutil.copytree(remote.bare, tmp_path / "other.git")
    message = refused(remote, checkout, url=str(tmp_path / "other.git"))
    assert f"its remote origin is {remote.bare}, not {tmp_path / 'other.git'}." in message
    assert "remote set-url origin" in message
    git(checkout, "remote", "remove", "origin")
    assert "it has no remote origin" in refused(remote, checkout)


def test_the_same_remote_spelt_differently(remote, checkout):
    assert sync(remote, checkout, url=f"file://{remote.bare}").old
    assert sync(remote, checkout, url=f"{remote.bare}/").old


def test_a_detached_head(remote, checkout):
    git(checkout, "checkout", "--quiet", "--detach")
    message = refused(remote, checkout)
    assert "the checkout is detached at" in message and f"git -C {checkout} switch main" in message


def test_a_foreign_branch(remote, checkout):
    git(checkout, "switch", "--quiet", "--create", "mine")
    message = refused(remote, checkout)
    assert "is on branch mine, not on branch main." in message and "switch main" in message


def test_a_branch_where_a_tag_is_wanted(remote, checkout):
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v1")
    git(remote.tree, "fetch", "--quiet")
    remote.commit("second")
    sync(remote, checkout)
    assert f"git -C {checkout} switch --detach v1" in refused(remote, checkout, "v1")


def test_back_to_an_earlier_tag_is_for_the_user_to_do(remote, tmp_path):
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v1")
    remote.commit("second")
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/v2")
    sync(remote, tmp_path / "x", "v2")
    message = refused(remote, tmp_path / "x", "v1")
    assert "which is later than v1. Type: git -C" in message


def test_a_branch_that_is_gone_from_the_remote(remote, checkout, tmp_path):
    git(remote.tree, "push", "--quiet", "origin", "HEAD:dev")
    sync(remote, tmp_path / "dev", "dev")
    git(remote.tree, "push", "--quiet", "origin", "--delete", "dev")
    assert "'dev' is no branch, tag or commit" in refused(remote, tmp_path / "dev", "dev")
    git(remote.bare, "branch", "--move", "main", "trunk")
    assert "the checkout is on branch main, not on branch trunk." in refused(remote, checkout)


def test_a_checkout_that_knows_little_of_its_remote(remote, tmp_path):
    git(remote.tree, "push", "--quiet", "origin", "HEAD:dev")
    git(tmp_path, "clone", "--quiet", "--single-branch", "--branch=dev", str(remote.bare), "single")
    new = remote.commit("second", branch="dev")
    assert sync(remote, tmp_path / "single", "dev").new == new
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "bare")
    git(tmp_path / "bare", "remote", "add", "origin", str(remote.bare))
    git(tmp_path / "bare", "pull", "--quiet", "origin", "main")
    assert sync(remote, tmp_path / "bare").branch == "main"


def test_a_moved_tag_of_no_concern(remote, checkout):
    git(remote.tree, "push", "--quiet", "origin", "HEAD:refs/tags/nightly")
    sync(remote, checkout, "main")
    remote.commit("second")
    git(remote.tree, "push", "--quiet", "--force", "origin", "HEAD:refs/tags/nightly")
    assert sync(remote, checkout, "main").old


def test_links_in_the_place_of_the_checkout(remote, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    sync(remote, tmp_path / "link")
    assert (tmp_path / "empty" / "file.txt").exists() and (tmp_path / "link").is_symlink()
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    with pytest.raises(UserError, match="is not a folder"):
        sync(remote, tmp_path / "dangling")


def test_two_first_pulls_at_once(remote, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: sync(remote, tmp_path / "x").old is None, range(2)))
    assert sorted(done) == [False, True]


def test_a_path_is_taken_as_it_is_written(remote, tmp_path, monkeypatch, recwarn):
    monkeypatch.setenv("FOO", "bar")
    for name in ("a$FOO", "50%x%y", "b$nope"):
        sync(remote, tmp_path / name)
        assert sync(remote, tmp_path / name).old and (tmp_path / name / ".git").is_dir()
    assert not recwarn.list


def test_git_is_too_old(remote, tmp_path, monkeypatch):
    (tmp_path / "git").write_text("#!/bin/sh\necho git version 2.25.1\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(UserError, match="git: version 2.25.1 is too old. Install git 2.31 or newer."):
        repos.pull([source(remote, tmp_path / "x")])


def test_git_is_missing(remote, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git: the program is not installed"):
        repos.pull([source(remote, tmp_path / "x")])


def test_no_such_ref(remote, checkout, tmp_path):
    assert "AO_WORKFLOWS_REF: 'nope' is no branch, tag or commit of" in refused(remote, checkout, "nope")
    assert "'main..main' is no branch, tag or commit of" in refused(remote, checkout, "main..main")
    with pytest.raises(UserError, match="'nope' is no branch, tag or commit"):
        sync(remote, tmp_path / "new", "nope")
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))


def test_a_ref_that_looks_like_an_option(remote, checkout):
    assert "is no branch, tag or commit" in refused(remote, checkout, "--upload-pack=touch /tmp/x")


def test_a_file_where_the_folder_should_be(remote, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UserError, match="WORKFLOW_DEV_DIR: .* is not a folder"):
        sync(remote, tmp_path / "x")
    assert (tmp_path / "x").read_text() == "mine"


def test_what_is_broken_is_not_taken_for_the_repository_around_it(remote, tmp_path):
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "x")
    sync(remote, tmp_path / "x")
    shutil.rmtree(tmp_path / "x/.git/objects")
    for look in (
        lambda broken: checkouts.head(broken),
        lambda broken: pulls.sync(broken, lambda stage, part: None),
    ):
        with pytest.raises(UserError, match="holds files and is not a git repository"):
            look(source(remote, tmp_path / "x"))


def test_where_a_checkout_stands(remote, checkout):
    current = source(remote, checkout)
    commit = git(checkout, "rev-parse", "HEAD")
    assert checkouts.head(current) == checkouts.Head(commit, "main", False)
    assert checkouts.time_of(current, commit) == 1767323045  # conftest's 2026-01-02T03:04:05Z
    (checkout / "new.txt").write_text("untracked")
    assert not checkouts.head(current).dirty
    git(checkout, "add", "new.txt")
    git(checkout, "checkout", "--quiet", "--detach")
    assert checkouts.head(current) == checkouts.Head(commit, "", True)
    assert checkouts.commits_since(current, commit) == 0
    git(checkout, "commit", "--quiet", "--message", "mine")
    assert checkouts.commits_since(current, commit) == 1
    assert checkouts.commits_since(current, "0" * 40) is None


def test_a_fetch_says_how_far_it_is(remote, checkout):
    remote.commit("second")  # a file, a folder, a commit
    remote.commit("third", "other.txt")
    stages = []
    pulls.sync(source(remote, checkout), lambda stage, part: stages.append((stage, part)))
    assert ("counting", 0.5) in stages and ("counting", 1.0) in stages
    assert {stage for stage, _ in stages} <= {"counting", "compressing", "receiving", "resolving"}


def test_a_folder_that_is_no_repository(remote, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files and is not a git repository"):
        sync(remote, tmp_path / "x")
    assert os.listdir(tmp_path / "x") == ["thesis.txt"]


def test_a_remote_that_is_not_there_or_is_none(remote, tmp_path):
    with pytest.raises(UserError, match="AO_WORKFLOWS_URL: there is nothing at /no/where"):
        sync(remote, tmp_path / "x", url="/no/where")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be read as a git repository"):
        sync(remote, tmp_path / "x", url=str(tmp_path / "folder"))
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".x*"))


def test_an_empty_remote(remote, tmp_path):
    (tmp_path / "empty.git").mkdir()
    git(tmp_path / "empty.git", "init", "--quiet", "--bare")
    with pytest.raises(UserError, match="the remote has no commits"):
        sync(remote, tmp_path / "x", url=str(tmp_path / "empty.git"))
    assert not (tmp_path / "x").exists()


def test_what_a_killed_clone_left_is_cleared_away(remote, tmp_path):
    left = tmp_path / ".x.partial"
    left.mkdir()
    (left / ".made-by-airflow-docker").write_text("")
    (left / "checkout").mkdir()
    sync(remote, tmp_path / "x")
    assert not left.exists() and (tmp_path / "x" / "file.txt").exists()


def test_a_folder_of_the_user_in_the_place_of_ours_is_kept(remote, tmp_path):
    left = tmp_path / ".x.partial"
    left.mkdir()
    (left / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="was not made by airflow-docker"):
        sync(remote, tmp_path / "x")
    assert (left / "thesis.txt").read_text() == "mine"


def test_both_are_pulled_and_all_failures_reported(remote, tmp_path):
    good, bad = source(remote, tmp_path / "good"), source(remote, tmp_path / "bad", url="/no/where")
    with pytest.raises(UserError, match="nothing at /no/where"):
        repos.pull([bad, good])
    assert (tmp_path / "good" / "file.txt").exists()
    with pytest.raises(UserError) as caught:
        repos.pull([bad, source(remote, tmp_path / "other", "nope")])
    assert len(caught.value.text.splitlines()) == 2


def test_only(make_settings):
    both = repos.sources(make_settings())
    assert [s.name for s in repos.select(both, None)] == ["ao-workflows", "archive-ops"]
    assert [s.name for s in repos.select(both, "archive-ops")] == ["archive-ops"]
    with pytest.raises(UserError, match="--only: there is no repository 'x'. Say ao-workflows or archive-ops"):
        repos.select(both, "x")


def test_credentials_in_a_url_travel_in_the_environment(make_settings):
    workflows = repos.sources(make_settings("AO_WORKFLOWS_URL=https://me:t%40ken@example.org/x.git\n"))[0]
    assert workflows.url == "https://example.org/x.git"
    assert "ken" not in repr(workflows)
    token_only = repos.sources(make_settings("AO_WORKFLOWS_URL=https://ghp_t@example.org/x.git\n"))[0]
    assert (token_only.url, token_only.credentials.reveal()) == ("https://example.org/x.git", "ghp_t:")
    assert workflows.environment["GIT_CONFIG_KEY_0"] == "http.https://example.org/.extraHeader"
    assert workflows.environment["GIT_CONFIG_VALUE_0"] == "Authorization: Basic bWU6dEBrZW4="
