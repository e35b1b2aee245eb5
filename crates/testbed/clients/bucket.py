"""What a test does to a bucket beside Wardline, as somebody with the same credential would.

usage: bucket.py ENDPOINT ID SECRET COMMAND BUCKET [KEY [VERSION]]
"""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, access_key, secret, command, bucket, *rest = sys.argv[1:]
s3 = boto3.client(
    "s3",
    endpoint_url=endpoint,
    aws_access_key_id=access_key,
    aws_secret_access_key=secret,
    region_name="us-east-1",
    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
)
try:
    if command == "create":
        s3.create_bucket(Bucket=bucket)
    elif command == "create-locked":
        s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
        configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
        s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)
    elif command == "keys":
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            print(item["Key"])
    elif command == "versions":
        for item in s3.list_object_versions(Bucket=bucket, Prefix=rest[0]).get("Versions", []):
            print(item["VersionId"])
    elif command == "overwrite":
        s3.put_object(Bucket=bucket, Key=rest[0], Body=b"something else")
    elif command == "hide":
        s3.delete_object(Bucket=bucket, Key=rest[0])
    elif command == "delete":
        s3.delete_object(Bucket=bucket, Key=rest[0], VersionId=rest[1])
    else:
        sys.exit(f"no such command: {command}")
except ClientError as error:
    print(error.response["Error"]["Code"])
    sys.exit(1)
