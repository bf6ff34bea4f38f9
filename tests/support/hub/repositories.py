"""Endpoints about accounts and about repositories as a whole: made, deleted, moved, set; their branches and tags."""

from urllib.parse import unquote

from . import git
from .answers import Answer, Refused, as_json, malformed
from .names import check_reference, is_repository
from .patterns import default_attributes
from .request import Request
from .site import Person, Site
from .store import Repository
from .vocabulary import SDKS

TYPES = ("model", "dataset", "space")
_NAMED = {"name": "str", "organization": "str?", "type": "str?"}
_SPACE = {"sdk": "str?", "hardware": "str?", "sleepTimeSeconds": "int?", "secrets": "list?", "variables": "list?"}
_CREATED = {**_NAMED, **_SPACE, "visibility": "str?", "private": "bool?"}


def whoami(site: Site, request: Request) -> Answer:
    person = site.who(request)
    if person is None:
        raise Refused(401, "Invalid username or password.")
    organizations = [
        {"type": "org", "id": f"id-of-{name}", "name": name, "fullname": name, "isEnterprise": False}
        | {"roleInOrg": "write", "canPay": False, "periodEnd": None, "avatarUrl": ""}
        for name in person.organizations
    ]
    token = {"displayName": "loopback", "role": person.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    account = {"type": "user", "id": f"id-of-{person.name}", "name": person.name, "fullname": person.name}
    account |= {"email": f"{person.name}@example.org", "emailVerified": True, "isPro": False, "canPay": False}
    account |= {"periodEnd": None, "avatarUrl": "", "orgs": organizations}
    return as_json(account | {"auth": {"type": "access_token", "accessToken": token}})


def harnesses(site: Site, request: Request) -> Answer:
    """The list by which clients tell what program runs them; there is none that they would tell of here."""
    return as_json({"standardEnvVars": [], "harnesses": {}})


def create(site: Site, request: Request) -> Answer:
    """With the first commit that the Hub itself makes: .gitattributes, and for a Space its README.md."""
    asked = request.json(_CREATED)
    person, repo_type, repo_id = _named(site, request, asked)
    sdk = asked["sdk"]
    if repo_type == "space" and sdk not in SDKS:
        raise malformed(f'"sdk" must be one of [{", ".join(SDKS)}]')
    if repo_type != "space" and any(asked[key] is not None for key in _SPACE):
        raise malformed(f"A {repo_type} has neither SDK nor hardware")
    visibility = asked["visibility"] or ("private" if asked["private"] else "public")
    if visibility not in ("public", "private"):
        raise malformed('"visibility" must be one of [public, private]')
    if (existing := site.store.find(repo_type, repo_id)) is not None:
        # The client reads the address of what is there already.
        raise Refused(409, f"You already created this {repo_type} repo", url=site.page(existing))
    repository = site.store.create(repo_type, repo_id, visibility, sdk)
    contents = {".gitattributes": default_attributes(repo_type)}
    if repo_type == "space":
        title = repo_id.partition("/")[2].replace("-", " ").replace("_", " ").title()
        front = f"title: {title}\nemoji: 🐨\ncolorFrom: blue\ncolorTo: green\nsdk: {sdk}\npinned: false"
        contents["README.md"] = f"---\n{front}\n---\n".encode()
    for content in contents.values():
        site.store.keep(content)
    files = {path: git.regular(content) for path, content in contents.items()}
    site.store.add_commit(repository, "main", files, set(files), author=person.name, title="initial commit")
    return as_json({"url": site.page(repository), "name": repo_id, "id": repo_id, "private": repository.private})


def delete(site: Site, request: Request) -> Answer:
    _, repo_type, repo_id = _named(site, request, request.json(_NAMED))
    _, repository = site.writable(request, repo_type, repo_id)
    site.store.delete(repository)
    return Answer()


def move(site: Site, request: Request) -> Answer:
    asked = request.json({"fromRepo": "str", "toRepo": "str", "type": "str?"})
    owner, _, name = asked["toRepo"].partition("/")
    _, repo_type, repo_id = _named(site, request, {"organization": owner, "name": name, "type": asked["type"]})
    _, repository = site.writable(request, repo_type, asked["fromRepo"])
    if site.store.find(repo_type, repo_id) is not None:
        raise Refused(409, f"{repo_id} already exists")
    site.store.move(repository, repo_id)
    return Answer()


def settings(site: Site, request: Request, repo_type: str, repo_id: str) -> Answer:
    asked = request.json({"visibility": "str?", "private": "bool?", "gated": "any?"})
    _, repository = site.writable(request, repo_type, repo_id)
    if asked["gated"] not in (None, False, "auto", "manual"):
        raise malformed('"gated" must be one of [auto, manual, false]')
    if asked["visibility"] not in (None, "public", "private"):
        raise malformed('"visibility" must be one of [public, private]')
    if asked["gated"] is not None:
        repository.gated = asked["gated"]
    if asked["private"] is not None:
        repository.visibility = "private" if asked["private"] else "public"
    repository.visibility = asked["visibility"] or repository.visibility
    site.store.save(repository)
    return as_json({"private": repository.private, "gated": repository.gated})


def auth_check(site: Site, request: Request, repo_type: str, repo_id: str, write: str | None) -> Answer:
    if write:
        site.writable(request, repo_type, repo_id)
    site.readable(request, repo_type, repo_id, contents=True)
    return as_json({})


def refs(site: Site, request: Request, repo_type: str, repo_id: str) -> Answer:
    asked = request.query(("include_prs",))
    repository = site.readable(request, repo_type, repo_id)
    branches, tags = (
        [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in named.items()]
        for kind, named in (("heads", repository.branches), ("tags", repository.tags))
    )
    pull_requests = {"pullRequests": []} if "include_prs" in asked else {}
    return as_json({"branches": branches, "tags": tags, "converts": [], **pull_requests})


def create_branch(site: Site, request: Request, repo_type: str, repo_id: str, name: str) -> Answer:
    asked, name = request.json({"startingPoint": "str?"}), unquote(name)
    check_reference(name)
    _, repository = site.writable(request, repo_type, repo_id)
    _check_free(repository, name)
    repository.branches[name] = site.commit(repository, asked["startingPoint"] or "main").oid
    site.store.save(repository)
    return as_json({})


def delete_branch(site: Site, request: Request, repo_type: str, repo_id: str, name: str) -> Answer:
    _, repository = site.writable(request, repo_type, repo_id)
    if unquote(name) == "main":
        raise Refused(403, "Cannot delete the main branch")
    return _delete(site, repository, repository.branches, unquote(name))


def create_tag(site: Site, request: Request, repo_type: str, repo_id: str, revision: str) -> Answer:
    asked = request.json({"tag": "str", "message": "str?"})
    check_reference(asked["tag"])
    _, repository = site.writable(request, repo_type, repo_id)
    _check_free(repository, asked["tag"])
    repository.tags[asked["tag"]] = site.commit(repository, unquote(revision)).oid
    site.store.save(repository)
    return as_json({})


def delete_tag(site: Site, request: Request, repo_type: str, repo_id: str, name: str) -> Answer:
    _, repository = site.writable(request, repo_type, repo_id)
    return _delete(site, repository, repository.tags, unquote(name))


def _named(site: Site, request: Request, asked: dict[str, str | None]) -> tuple[Person, str, str]:
    """Who asks, and the type and id of the repository that is named in a body, in a namespace of theirs."""
    person = site.writer(request)
    repo_type, owner = asked["type"] or "model", asked["organization"] or person.name
    if repo_type not in TYPES:
        raise malformed(f'"type" must be one of [{", ".join(TYPES)}]')
    repo_id = f"{owner}/{asked['name']}"
    if not is_repository(repo_id):
        raise malformed(f'Invalid repository name: "{repo_id}"')
    if not person.belongs_to(owner):
        message = f'You don\'t have the rights to create a {repo_type} under the namespace "{owner}"'
        raise Refused(403, message, mistake=True)
    return person, repo_type, repo_id


def _check_free(repository: Repository, name: str) -> None:
    if name in repository.branches or name in repository.tags:
        raise Refused(409, f"Reference already exists: {name}")


def _delete(site: Site, repository: Repository, named: dict[str, str], name: str) -> Answer:
    if named.pop(name, None) is None:
        raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
    site.store.save(repository)
    return Answer()
