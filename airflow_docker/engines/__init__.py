"""What runs an Airflow. Each module answers the same verbs over the same build directory and secrets."""
